//! Rows of preferences, as TRL reads them: with a prompt, or with one that both answers begin with.

use serde_json::Value;

use super::content::{Content, content, same_kind};
use super::fields::Fields;

/// Two answers to a prompt.
#[derive(Debug, PartialEq)]
pub(super) struct Answers {
    pub(super) prompt: Content,
    pub(super) chosen: Content,
    pub(super) rejected: Content,
}

/// Reads a row with `prompt`, `chosen` and `rejected`. A prompt that is a text beside two conversations is a part of both.
pub(super) fn explicit(fields: &Fields<'_>) -> Result<Answers, String> {
    let [prompt, chosen, rejected] =
        ["prompt", "chosen", "rejected"].map(|key| content(fields, key));
    let (prompt, chosen, rejected) = (prompt?, chosen?, rejected?);
    if let (Content::Text(_), Content::Messages(chosen), Content::Messages(rejected)) =
        (&prompt, &chosen, &rejected)
    {
        return of_messages(chosen, rejected);
    }
    same_kind([("prompt", &prompt), ("chosen", &chosen), ("rejected", &rejected)])?;
    Ok(Answers { prompt, chosen, rejected })
}

/// Reads a row with `chosen` and `rejected`, whose common beginning is the prompt.
pub(super) fn implicit(fields: &Fields<'_>) -> Result<Answers, String> {
    let (chosen, rejected) = (content(fields, "chosen")?, content(fields, "rejected")?);
    match (&chosen, &rejected) {
        (Content::Messages(chosen), Content::Messages(rejected)) => of_messages(chosen, rejected),
        (Content::Text(chosen), Content::Text(rejected)) => of_texts(chosen, rejected),
        _ => {
            same_kind([("chosen", &chosen), ("rejected", &rejected)])?;
            Err(without_prompt())
        }
    }
}

fn of_messages(chosen: &[Value], rejected: &[Value]) -> Result<Answers, String> {
    let at = common(chosen, rejected);
    if at == 0 {
        return Err(without_prompt());
    }
    let part = |messages: &[Value]| Content::Messages(messages.to_vec());
    Ok(Answers {
        prompt: part(&chosen[..at]),
        chosen: part(&chosen[at..]),
        rejected: part(&rejected[at..]),
    })
}

/// A space before the answers belongs to them.
fn of_texts(chosen: &str, rejected: &str) -> Result<Answers, String> {
    let [chosen, rejected] = [chosen, rejected].map(|text| text.chars().collect::<Vec<_>>());
    let mut at = common(&chosen, &rejected);
    if at > 0 && chosen[at] != rejected[at] && chosen[at - 1] == ' ' {
        at -= 1;
    }
    if at == 0 {
        return Err(without_prompt());
    }
    let part = |chars: &[char]| Content::Text(chars.iter().collect());
    Ok(Answers {
        prompt: part(&chosen[..at]),
        chosen: part(&chosen[at..]),
        rejected: part(&rejected[at..]),
    })
}

/// The length of the common beginning. Where one is how the other begins, its last element is its answer.
fn common<T: PartialEq>(one: &[T], other: &[T]) -> usize {
    let shorter = one.len().min(other.len());
    let differ = one.iter().zip(other).position(|(one, other)| one != other);
    differ.unwrap_or_else(|| shorter.saturating_sub(1))
}

fn without_prompt() -> String {
    "`chosen` and `rejected` begin differently, so that there is no prompt\n\
     hint: name what comes before both in `prompt`"
        .to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(row: &Value) -> Result<Answers, String> {
        let fields = Fields(row.as_object().unwrap());
        if row.get("prompt").is_some() { explicit(&fields) } else { implicit(&fields) }
    }

    fn texts(prompt: &str, chosen: &str, rejected: &str) -> Answers {
        let [prompt, chosen, rejected] =
            [prompt, chosen, rejected].map(|text| Content::Text(text.to_owned()));
        Answers { prompt, chosen, rejected }
    }

    /// ```python
    /// # pip install trl==1.16.0
    /// from trl.data_utils import extract_prompt
    /// for chosen, rejected in [("The sky is blue.", "The sky is green."), ("2+2=4", "2+2=5"), ("ab", "abc"), ("é = 1", "é = 2")]:
    ///     print(extract_prompt({"chosen": chosen, "rejected": rejected}))
    /// ```
    #[test]
    fn texts_without_a_prompt_are_divided_as_trl_divides_them() {
        for (chosen, rejected, expected) in [
            ("The sky is blue.", "The sky is green.", texts("The sky is", " blue.", " green.")),
            ("2+2=4", "2+2=5", texts("2+2=", "4", "5")),
            ("ab", "abc", texts("a", "b", "bc")),
            ("é = 1", "é = 2", texts("é =", " 1", " 2")),
        ] {
            let row = json!({"chosen": chosen, "rejected": rejected, "id": 1});
            assert_eq!(parse(&row), Ok(expected));
        }
    }

    #[test]
    fn conversations_share_the_messages_that_both_begin_with() {
        let message = |role: &str, content: &str| json!({"role": role, "content": content});
        let user = message("user", "Where is the sun?");
        let [sky, sea] = ["In the sky.", "In the sea."].map(|text| message("assistant", text));
        let expected = Ok(Answers {
            prompt: Content::Messages(vec![user.clone()]),
            chosen: Content::Messages(vec![sky.clone()]),
            rejected: Content::Messages(vec![sea.clone()]),
        });
        let both = [[user.clone(), sky.clone()], [user.clone(), sea.clone()]];
        let row = json!({"chosen": both[0], "rejected": both[1]});
        assert_eq!(parse(&row), expected);
        // The prompt stands beside the conversations too.
        let row = json!({"prompt": "Where is the sun?", "chosen": both[0], "rejected": both[1]});
        assert_eq!(parse(&row), expected);
        let row = json!({"prompt": [user], "chosen": [sky], "rejected": [sea]});
        assert_eq!(parse(&row), expected);
    }

    #[test]
    fn answers_without_a_common_beginning_are_refused() {
        let other = json!([{"role": "system", "content": "s"}]);
        let one = json!([{"role": "user", "content": "q"}]);
        for (row, reason) in [
            (
                json!({"chosen": "a", "rejected": "b"}),
                "begin differently, so that there is no prompt",
            ),
            (
                json!({"chosen": one, "rejected": other}),
                "begin differently, so that there is no prompt",
            ),
            (
                json!({"chosen": "a", "rejected": one}),
                "one of `chosen` and `rejected` is a text, the other a list of messages",
            ),
            (
                json!({"prompt": one, "chosen": "a", "rejected": "b"}),
                "one of `prompt` and `chosen` is a text, the other a list of messages",
            ),
        ] {
            let error = parse(&row).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
