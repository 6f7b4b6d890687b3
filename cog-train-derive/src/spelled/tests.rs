use super::*;

fn spelled(text: &str) -> Result<(Item, Option<bool>), String> {
    input(&syn::parse_str(text).unwrap())
        .map(|spelled| (spelled.item, spelled.list))
        .map_err(|error| error.to_string())
}

#[test]
fn every_path_to_a_type_is_known() {
    for text in [
        "String",
        "std::string::String",
        "::std::string::String",
        "alloc::string::String",
        "(String)",
    ] {
        assert_eq!(spelled(text), Ok((Item::String, Some(false))), "{text}");
        for text in [format!("Option<{text}>"), format!("::core::option::Option<{text}>")] {
            assert_eq!(spelled(&text), Ok((Item::String, Some(false))), "{text}");
        }
        for text in [format!("Vec<{text}>"), format!("std::option::Option<std::vec::Vec<{text}>>")]
        {
            assert_eq!(spelled(&text), Ok((Item::String, Some(true))), "{text}");
        }
    }
    assert_eq!(spelled("cog_train::Path"), Ok((Item::Path, Some(false))));
    assert_eq!(spelled("serde_json::Map<String, Value>"), Ok((Item::Object, Some(false))));
    assert_eq!(spelled("u8"), Ok((Item::Integer { name: "u8", min: 0, max: 255 }, Some(false))));
}

#[test]
fn an_alias_may_be_anything() {
    assert_eq!(spelled("Rate"), Ok((Item::Unknown, None)));
    assert_eq!(spelled("Option<Rate>"), Ok((Item::Unknown, None)));
    assert_eq!(spelled("Vec<Rate>"), Ok((Item::Unknown, Some(true))));
    assert_eq!(spelled("my::String"), Ok((Item::Unknown, None)));
    assert_eq!(spelled("Option"), Ok((Item::Unknown, None)));
    assert_eq!(spelled("<T as Trait>::String"), Ok((Item::Unknown, None)));
}

#[test]
fn types_that_can_never_be_an_input_are_refused() {
    for text in [
        "&str",
        "&'static str",
        "&u8",
        "[u8; 4]",
        "(u8, u8)",
        "()",
        "fn()",
        "dyn Fn()",
        "impl Fn()",
        "*const u8",
        "!",
        "Option<Option<u8>>",
        "Vec<Vec<u8>>",
        "Vec<Option<u8>>",
        "Option<Vec<Option<u8>>>",
        "PathBuf",
        "char",
        "std::path::PathBuf",
        "Option<std::path::Path>",
        "Duration",
        "Vec<std::time::Duration>",
        "Cow<'static, str>",
        "HashMap<String, u8>",
        "u128",
    ] {
        assert!(spelled(text).is_err(), "{text}");
    }
}
