//! Pairs of preferences from rows: which tokens are trained, and what is said of rows that lose them.

use cog_train::data::{Dataset, Rows};
use cog_train::serde_json::{Value, json};
use cog_train::text::{
    ChatTemplate, Content, Example, ExampleBuilder, Format, PreferenceReport, Preferences, Row,
    Tokenizer, Truncation,
};
use cog_train::{CancelToken, Error};

use crate::golden::fixtures;

fn tokenizer() -> Tokenizer {
    Tokenizer::open(fixtures().join("bytes")).unwrap()
}

/// The text of the tokens that are trained.
fn trained(tokenizer: &Tokenizer, example: &Example) -> Vec<String> {
    let text = |range: &std::ops::Range<usize>| tokenizer.decode_all(&example.ids()[range.clone()]);
    example.trained().iter().map(|range| text(range).unwrap()).collect()
}

/// The text before the first of them.
fn prompt(tokenizer: &Tokenizer, example: &Example) -> String {
    tokenizer.decode_all(&example.ids()[..example.trained()[0].start]).unwrap()
}

fn make(builder: &ExampleBuilder<'_>, rows: &[Value]) -> Result<Preferences, Error> {
    let row = |value: &Value| {
        let format = Format::of(value.as_object().unwrap().keys().map(String::as_str)).unwrap();
        Row::parse(format, value).unwrap()
    };
    let rows = Rows::new(rows.iter().map(row).collect()).named("rows");
    builder.preferences(rows, &CancelToken::new())
}

#[test]
fn a_preference_is_two_examples_of_one_prompt() {
    let tokenizer = tokenizer();
    let text = |text: &str| Content::Text(text.to_owned());
    let row = Row::Preference { prompt: text("2 + 2 ="), chosen: text(" 4"), rejected: text(" 5") };
    let found = ExampleBuilder::new(&tokenizer, 50).preference(&row).unwrap().unwrap();
    assert_eq!(trained(&tokenizer, &found.chosen), [" 4<|im_end|>"]);
    assert_eq!(trained(&tokenizer, &found.rejected), [" 5<|im_end|>"]);
    assert_eq!(found.chosen.trained()[0].start, found.rejected.trained()[0].start);
    let error = ExampleBuilder::new(&tokenizer, 50).preference(&Row::Text("a".to_owned()));
    let error = error.unwrap_err().to_string();
    assert!(error.contains("a preference has `chosen` and `rejected`"), "{error}");
}

/// The three spellings of one conversation give the same tokens; only the assistant's are trained.
#[test]
fn conversations_give_the_same_pair_however_their_prompt_is_written() {
    let tokenizer = tokenizer();
    let template = std::fs::read_to_string(fixtures().join("templates/chatml.jinja")).unwrap();
    let template = ChatTemplate::new(&template, &tokenizer).unwrap();
    let builder = ExampleBuilder::new(&tokenizer, 200).template(&template);
    let message = |role: &str, content: &str| json!({"role": role, "content": content});
    let user = message("user", "Where is the sun?");
    let [sky, sea] = ["In the sky.", "In the sea."].map(|text| message("assistant", text));
    let whole = [[&user, &sky], [&user, &sea]];
    let rows = [
        json!({"prompt": [user], "chosen": [sky], "rejected": [sea]}),
        json!({"chosen": whole[0], "rejected": whole[1]}),
        json!({"prompt": "Where is the sun?", "chosen": whole[0], "rejected": whole[1]}),
    ];
    let pairs = make(&builder, &rows).unwrap();
    let first = pairs.item(0).unwrap();
    assert_eq!(trained(&tokenizer, &first.chosen), ["In the sky.<|im_end|>"]);
    assert_eq!(trained(&tokenizer, &first.rejected), ["In the sea.<|im_end|>"]);
    let start = prompt(&tokenizer, &first.chosen);
    assert!(start.ends_with("<|im_start|>assistant\n"), "{start}");
    assert_eq!(start, prompt(&tokenizer, &first.rejected));
    assert!(pairs.all().iter().all(|pair| *pair == first));
    assert_eq!(pairs.counts().pairs, 3);
}

#[test]
fn truncation_keeps_the_end_of_the_prompt_and_is_counted() {
    let tokenizer = tokenizer();
    let long = format!("{} and so 2 + 2 =", "one two three ".repeat(30));
    let rows = [
        json!({"prompt": long, "chosen": " 4", "rejected": " a much longer answer: 5"}),
        json!({"prompt": "2 + 2 =", "chosen": " 4", "rejected": " 5"}),
    ];
    for truncation in [Truncation::Start, Truncation::End] {
        let builder = ExampleBuilder::new(&tokenizer, 60).truncation(truncation);
        let pairs = make(&builder, &rows).unwrap();
        let counts = pairs.counts();
        assert_eq!((counts.rows, counts.pairs, counts.truncated), (2, 2, 1));
        let pair = pairs.item(0).unwrap();
        assert_eq!(trained(&tokenizer, &pair.chosen), [" 4<|im_end|>"]);
        assert_eq!(trained(&tokenizer, &pair.rejected), [" a much longer answer: 5<|im_end|>"]);
        assert_eq!(pair.rejected.ids().len(), 61);
        let start = prompt(&tokenizer, &pair.chosen);
        assert!(start.ends_with("and so 2 + 2 ="), "{start}");
        assert_eq!(start, prompt(&tokenizer, &pair.rejected));
        let longest = counts.longest_whole;
        assert!(longest > 61);
        let report = PreferenceReport::new(&tokenizer, &pairs, None).unwrap().to_string();
        let expected =
            format!("train: 2 pairs of 2 rows\n  1 truncated; the longest had {longest} tokens\n");
        assert!(report.starts_with(&expected), "{report}");
    }
}

#[test]
fn rows_without_two_answers_are_dropped_and_counted() {
    let tokenizer = tokenizer();
    let builder = ExampleBuilder::new(&tokenizer, 9);
    let long = "the same words come here ".repeat(5);
    let good = json!({"prompt": "2 + 2 =", "chosen": " 4", "rejected": " 5"});
    let bad = [
        json!({"prompt": "2 + 2 =", "chosen": " 4", "rejected": ""}),
        json!({"prompt": "2 + 2 =", "chosen": " 4", "rejected": " 4"}),
        // Their difference is cut off.
        json!({"prompt": "2", "chosen": format!("{long}4"), "rejected": format!("{long}5")}),
    ];
    let all = [std::slice::from_ref(&good), &bad[..]].concat();
    let pairs = make(&builder, &all).unwrap();
    let counts = pairs.counts();
    assert_eq!((counts.rows, counts.pairs, counts.empty, counts.same), (4, 1, 1, 2));
    assert_eq!(pairs.location(0), "rows row 1");
    let eval = make(&builder, &[good]).unwrap();
    let report = PreferenceReport::new(&tokenizer, &pairs, Some(&eval)).unwrap();
    assert_eq!(
        report.to_string(),
        "train: 1 pair of 4 rows\n  1 dropped: an answer is empty\n  2 dropped: both answers are the same\n\
         eval: 1 pair of 1 row\n  1 pair of train too\n\
         pair 1, trained between ⟦ and ⟧\n  chosen: 2 + 2 =⟦ 4<|im_end|>⟧\n  rejected: 2 + 2 =⟦ 5<|im_end|>⟧"
    );
    let error = make(&builder, &bad).err().unwrap().to_string();
    assert!(
        error.contains(
            "no two answers to compare in 3 rows: 1 with an empty one, 2 with the same twice"
        ),
        "{error}"
    );
}

/// A resumed run compares it.
#[test]
fn the_digest_is_of_both_answers() {
    let tokenizer = tokenizer();
    let builder = ExampleBuilder::new(&tokenizer, 50);
    let digest = |chosen: &str, rejected: &str| {
        let row = json!({"prompt": "2 + 2 =", "chosen": chosen, "rejected": rejected});
        make(&builder, &[row]).unwrap().digest().unwrap()
    };
    assert_eq!(digest(" 4", " 5"), digest(" 4", " 5"));
    assert_ne!(digest(" 4", " 5"), digest(" 4", " 6"));
    assert_ne!(digest(" 4", " 5"), digest(" 5", " 4"));
}
