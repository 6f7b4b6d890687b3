//! A last message that the model continues: a tag at its end, at which the rendered text is cut.

use serde_json::{Map, Value};

use super::chat::REASONING;

/// The tag of `transformers`. Its space shows whether a template strips messages.
const TAG: &str = "CONTINUE_FINAL_MESSAGE_TAG ";

/// Appends the tag to a field of the last message and returns the field's text.
///
/// # Errors
///
/// A sentence when the template's source does not use the field, or the message does not have it.
pub(super) fn tag(
    message: &mut Map<String, Value>,
    field: &str,
    source: &str,
) -> Result<String, String> {
    let names: &[&str] = if field == REASONING[0] { &REASONING } else { &[field] };
    if !names.iter().any(|name| source.contains(name)) {
        return Err(format!("it does not use `{field}`, which is to be continued"));
    }
    let missing = || format!("the last message has no text in `{field}` to continue");
    let original = message.get(field).cloned().ok_or_else(missing)?;
    if let Value::Array(_) = original {
        let parts = message.get_mut(field).and_then(Value::as_array_mut);
        let texts = parts.into_iter().flatten().filter_map(|part| part.get_mut("text"));
        let text = texts.last().ok_or_else(missing)?;
        let before = text.as_str().ok_or_else(missing)?.to_owned();
        *text = Value::String(before.clone() + TAG);
        return Ok(before);
    }
    let before = original.as_str().ok_or_else(missing)?.to_owned();
    // Reasoning has several names, and the template reads one of them.
    for name in names {
        if message.get(*name) == Some(&original) {
            message.insert((*name).to_owned(), Value::String(before.clone() + TAG));
        }
    }
    Ok(before)
}

/// Cuts a rendered text before the tag.
///
/// # Errors
///
/// A sentence when the template has changed the message.
pub(super) fn untag(text: &str, message: &str) -> Result<String, String> {
    let found = text.rfind(TAG.trim()).filter(|_| text.contains(message.trim()));
    let at = found
        .ok_or("it does not render the last message as it is, so that it cannot be continued")?;
    let kept = &text[..at];
    // A template that strips the message has stripped the space behind the tag.
    let kept = if text[at..].starts_with(TAG) { kept } else { kept.trim_end() };
    Ok(kept.to_owned())
}
