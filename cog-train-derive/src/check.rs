//! Checks of options against each other and against the spelled type. Checks that need an unknown type are left to
//! `cog_train`'s constant functions.

mod literal;

use std::cmp::Ordering;

use self::literal::{compare, integer, misfit, type_name};
use crate::attr::Written;
use crate::dialect;
use crate::errors::Errors;
use crate::model::Field;
use crate::spelled::{Item, Spelled};
use crate::value::{self, Literal, Value};

/// Reports all mistakes of one field.
pub(crate) fn check(field: &Field, errors: &mut Errors) {
    let Some(spelled) = field.spelled else { return };
    let regex = regex(field, errors);
    bounds(field, spelled.item, errors);
    lengths(field, errors);
    rules_fit(field, spelled.item, errors);
    if has_choices(spelled.item) {
        choices(field, spelled.item, errors);
    }
    if let Some(default) = &field.options.default {
        self::default(&default.value, field, spelled, regex.as_ref(), errors);
    }
}

fn regex(field: &Field, errors: &mut Errors) -> Option<regex::Regex> {
    let written = field.options.regex.as_ref()?;
    let Literal::Str(pattern) = &written.value.literal else { return None };
    dialect::compile(pattern).map_err(|message| errors.at(written, message)).ok()
}

/// Checks `ge` and `le` against the type and each other.
fn bounds(field: &Field, item: Item, errors: &mut Errors) {
    let (ge, le) = (&field.options.ge, &field.options.le);
    let mut fits = true;
    for bound in [ge, le].into_iter().flatten() {
        if matches!(item, Item::Integer { .. })
            && let Some(message) = misfit(&bound.value.literal, &bound.value, item)
        {
            errors.at(bound, message);
            fits = false;
        }
    }
    if let (true, Some(ge), Some(le)) = (fits, ge, le)
        && compare(&ge.value, &le.value) == Some(Ordering::Greater)
    {
        errors.at(ge, format!("`ge` is {}, which is more than `le`, {}", ge.value, le.value));
    }
}

fn lengths(field: &Field, errors: &mut Errors) {
    if let (Some(min), Some(max)) = (&field.options.min_length, &field.options.max_length)
        && compare(&min.value, &max.value) == Some(Ordering::Greater)
    {
        errors.at(
            min,
            format!(
                "`min_length` is {}, which is more than `max_length`, {}",
                min.value, max.value
            ),
        );
    }
}

/// Refuses rules that do not apply to the type.
fn rules_fit(field: &Field, item: Item, errors: &mut Errors) {
    let options = &field.options;
    let is_number = matches!(item, Item::Integer { .. } | Item::F32 | Item::F64 | Item::Unknown);
    let is_text = matches!(item, Item::String | Item::Unknown);
    let mut refuse = |written: &Option<Written>, types: &str, remedy: &str| {
        if let Some(Written { name, .. }) = written {
            errors.at(
                name,
                format!("`{name}` is for {types}, and this type is `{}`{remedy}", type_name(item)),
            );
        }
    };
    if !is_number {
        refuse(&options.ge, "numbers", if is_text { ": `min_length` is for texts" } else { "" });
        refuse(&options.le, "numbers", if is_text { ": `max_length` is for texts" } else { "" });
    }
    if !is_text {
        refuse(
            &options.min_length,
            "`String`",
            if is_number { ": `ge` is for numbers" } else { "" },
        );
        refuse(
            &options.max_length,
            "`String`",
            if is_number { ": `le` is for numbers" } else { "" },
        );
        refuse(&options.regex, "`String`", "");
    }
    if !has_choices(item) {
        refuse(&options.choices, "`String` and integers", "");
    }
}

fn has_choices(item: Item) -> bool {
    matches!(item, Item::String | Item::Integer { .. } | Item::Unknown)
}

fn choices(field: &Field, item: Item, errors: &mut Errors) {
    let Some(written) = &field.options.choices else { return };
    let choices = written.value.items();
    if choices.is_empty() {
        return errors.at(written, "`choices` is empty: no value would be valid");
    }
    for (index, choice) in choices.iter().enumerate() {
        let message = match &choice.literal {
            Literal::Path(_) => {
                errors.push(value::not_a_literal(choice));
                continue;
            }
            Literal::Str(text) if text.is_empty() => Some("a choice is not empty".to_owned()),
            Literal::Bool(_) | Literal::Float(_) => {
                Some("a choice is a text or a whole number".to_owned())
            }
            literal if matches!(item, Item::String | Item::Integer { .. }) => {
                misfit(literal, choice, item)
            }
            literal
                if std::mem::discriminant(literal)
                    != std::mem::discriminant(&choices[0].literal) =>
            {
                Some("choices are all texts or all whole numbers".to_owned())
            }
            _ => None,
        };
        match message {
            Some(message) => errors.at(&choice.tokens, message),
            None if choices[..index]
                .iter()
                .any(|other| compare(other, choice) == Some(Ordering::Equal)) =>
            {
                errors.at(&choice.tokens, format!("the choice {choice} is given twice"));
            }
            None => {}
        }
    }
}

/// Checks a default against the type and every rule; for a list, each item.
fn default(
    default: &Value,
    field: &Field,
    spelled: Spelled,
    regex: Option<&regex::Regex>,
    errors: &mut Errors,
) {
    let is_list = matches!(default.literal, Literal::List(_));
    match spelled {
        Spelled { item: Item::Secret, .. } => {
            return errors.at(
                &default.tokens,
                "a `Secret` has no default: leave it out, or write `Option<Secret>`",
            );
        }
        Spelled { list: Some(true), .. } if !is_list => {
            return errors
                .at(&default.tokens, format!("this is a list: write `default = [{default}]`"));
        }
        Spelled { item, list: Some(false) } if is_list && item != Item::Any => {
            let sentence =
                format!("`{}` is not a list: write the default without brackets", type_name(item));
            return errors.at(&default.tokens, sentence);
        }
        _ => {}
    }
    for value in default.items() {
        match &value.literal {
            Literal::Path(_) if spelled.item != Item::Unknown => {
                errors.push(value::not_a_literal(value));
            }
            literal => {
                if let Some(message) =
                    misfit(literal, value, spelled.item).or_else(|| violation(value, field, regex))
                {
                    errors.at(&value.tokens, message);
                }
            }
        }
    }
}

/// Returns the message for a default that violates the field's own rules.
fn violation(value: &Value, field: &Field, regex: Option<&regex::Regex>) -> Option<String> {
    let options = &field.options;
    if let Some(ge) =
        options.ge.as_ref().filter(|ge| compare(value, &ge.value) == Some(Ordering::Less))
    {
        return Some(format!("the default {value} is less than `ge`, {}", ge.value));
    }
    if let Some(le) =
        options.le.as_ref().filter(|le| compare(value, &le.value) == Some(Ordering::Greater))
    {
        return Some(format!("the default {value} is greater than `le`, {}", le.value));
    }
    if let Literal::Str(text) = &value.literal {
        let length = text.chars().count() as i128;
        let characters = if length == 1 { "character" } else { "characters" };
        if let Some(min) = options
            .min_length
            .as_ref()
            .filter(|min| integer(&min.value).is_some_and(|min| length < min))
        {
            return Some(format!(
                "the default is {length} {characters} long, and `min_length` is {}",
                min.value
            ));
        }
        if let Some(max) = options
            .max_length
            .as_ref()
            .filter(|max| integer(&max.value).is_some_and(|max| length > max))
        {
            return Some(format!(
                "the default is {length} {characters} long, and `max_length` is {}",
                max.value
            ));
        }
        if regex.is_some_and(|regex| !regex.is_match(text)) {
            return Some(format!("the default {value} does not match `regex`"));
        }
    }
    let choices = &options.choices.as_ref()?.value;
    if choices.items().iter().any(|choice| compare(choice, value) == Some(Ordering::Equal)) {
        return None;
    }
    Some(format!("the default {value} is not one of the choices, {choices}"))
}

#[cfg(test)]
mod tests;
