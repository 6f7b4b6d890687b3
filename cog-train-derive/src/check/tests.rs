use super::*;

fn messages(field: &str) -> Vec<String> {
    let item: syn::ItemStruct = syn::parse_str(&format!("struct Inputs {{ {field} }}")).unwrap();
    let field = item.fields.iter().next().unwrap();
    let mut errors = Errors::default();
    let field = Field::read(field.ident.as_ref().unwrap(), &field.ty, &field.attrs, &mut errors);
    check(&field, &mut errors);
    errors.messages()
}

#[test]
fn valid_fields_have_no_mistakes() {
    for field in [
        "#[input(default = 5e-5, ge = 0, le = 1e-3)] a: f64",
        "#[input(default = 0, ge = 0, le = 0)] a: u8",
        "#[input(default = 255)] a: u8",
        "#[input(default = -128)] a: i8",
        "#[input(default = 18446744073709551615)] a: u64",
        "#[input(default = \"é\", min_length = 1, max_length = 1)] a: String",
        "#[input(default = [\"a\", \"b\"], choices = [\"a\", \"b\"])] a: Vec<String>",
        "#[input(default = [])] a: Option<Vec<u8>>",
        "#[input(default = \"abc\", regex = \"b\")] a: Option<String>",
        "#[input(default = [1, \"a\"])] a: serde_json::Value",
        "#[input(default = Optimizer::AdamW)] a: Optimizer",
        "#[input(default = 3.4e38)] a: f32",
        "#[input(default = 1, choices = [1, 2], ge = 1)] a: Alias",
        "#[input(default = \"data/train.jsonl\")] a: Path",
    ] {
        assert_eq!(messages(field), Vec::<String>::new(), "{field}");
    }
}

#[test]
fn each_mistake_is_one_message() {
    for (field, message) in [
        (
            "#[input(default = 2e-3, le = 1e-3)] a: f64",
            "the default 0.002 is greater than `le`, 0.001",
        ),
        ("#[input(default = -1, ge = 0.0)] a: f32", "the default -1 is less than `ge`, 0.0"),
        ("#[input(default = 256)] a: u8", "256 is outside the range of `u8`, which is 0 to 255"),
        ("#[input(ge = -1)] a: u8", "-1 is outside the range of `u8`, which is 0 to 255"),
        ("#[input(ge = 2, le = 1)] a: Alias", "`ge` is 2, which is more than `le`, 1"),
        ("#[input(default = 3.0)] a: u8", "`u8` is a whole number: write `3`"),
        ("#[input(default = 1e39)] a: f32", "1e39 is outside the range of `f32`"),
        (
            "#[input(default = \"\", min_length = 1)] a: Alias",
            "the default is 0 characters long, and `min_length` is 1",
        ),
        (
            "#[input(default = \"éé\", max_length = 1)] a: String",
            "the default is 2 characters long, and `max_length` is 1",
        ),
        (
            "#[input(default = \"B\", regex = \"^[a-z]$\")] a: String",
            "the default \"B\" does not match `regex`",
        ),
        (
            "#[input(default = 3, choices = [1, 2])] a: i64",
            "the default 3 is not one of the choices, [1, 2]",
        ),
        ("#[input(choices = [1, 1])] a: Alias", "the choice 1 is given twice"),
        ("#[input(choices = [1, \"a\"])] a: Alias", "choices are all texts or all whole numbers"),
        ("#[input(choices = [])] a: String", "`choices` is empty: no value would be valid"),
        ("#[input(choices = [\"\"])] a: String", "a choice is not empty"),
        (
            "#[input(ge = 1)] a: String",
            "`ge` is for numbers, and this type is `String`: `min_length` is for texts",
        ),
        ("#[input(regex = \"a\")] a: Path", "`regex` is for `String`, and this type is `Path`"),
        (
            "#[input(choices = [1])] a: bool",
            "`choices` is for `String` and integers, and this type is `bool`",
        ),
        ("#[input(default = 3)] a: String", "`String` is a text: write `\"3\"`"),
        ("#[input(default = 3)] a: Vec<u8>", "this is a list: write `default = [3]`"),
        ("#[input(default = [3])] a: u8", "`u8` is not a list: write the default without brackets"),
        (
            "#[input(default = [1, 300])] a: Vec<u8>",
            "300 is outside the range of `u8`, which is 0 to 255",
        ),
        (
            "#[input(min_length = 3, max_length = 2)] a: String",
            "`min_length` is 3, which is more than `max_length`, 2",
        ),
    ] {
        assert_eq!(messages(field), [message], "{field}");
    }
}

#[test]
fn all_mistakes_are_reported() {
    let field = "#[input(default = 300, ge = 5, le = 1, min_length = 1, colour = 2)] a: u8";
    assert_eq!(messages(field).len(), 4, "{:#?}", messages(field));
}
