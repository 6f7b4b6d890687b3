use super::*;

fn options(text: &str) -> (Options, Vec<String>) {
    let tokens: TokenStream = text.parse().unwrap();
    let attr: Attribute = syn::parse_quote!(#[input(#tokens)]);
    let mut errors = Errors::default();
    let options = Options::read(&[attr], &mut errors);
    (options, errors.messages())
}

#[test]
fn options_are_read() {
    let (options, errors) =
        options("default = [1, -2], ge = -5, le = 0.5, deprecated, description = \"a\",");
    assert_eq!(errors, Vec::<String>::new());
    assert_eq!(options.default.unwrap().value.to_string(), "[1, -2]");
    assert_eq!(options.ge.unwrap().value.to_string(), "-5");
    assert_eq!(options.le.unwrap().value.to_string(), "0.5");
    assert!(options.deprecated.is_some() && options.regex.is_none());
}

#[test]
fn reading_continues_after_a_mistake() {
    let (options, errors) = options(
        "ge = 1 + 1, colour = 3, le, 5, default = Vec::<(u8, u8)>::new(), ge = 2 le = 3, ge = 3, regex = , description = \"x\"",
    );
    assert_eq!(errors.len(), 8, "{errors:#?}");
    assert_eq!(options.ge.unwrap().value.to_string(), "2");
    assert_eq!(options.description.unwrap().value.to_string(), "\"x\"");
}

#[test]
fn doc_comments_become_paragraphs() {
    let field: syn::ItemStruct = syn::parse_quote! {
        /// One line,
        /// and its end.
        ///
        /// Another.
        #[doc = "  More."]
        struct A {}
    };
    assert_eq!(docs(&field.attrs), "One line, and its end.\n\nAnother. More.");
    let block: syn::ItemStruct = syn::parse_str("/**\n * One\n * line.\n */ struct A {}").unwrap();
    assert_eq!(docs(&block.attrs), "One line.");
    assert_eq!(docs(&[]), "");
}
