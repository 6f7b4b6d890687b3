//! Implementation of `#[derive(Choice)]`: an enum whose variants are names.

use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt;
use syn::{Data, DeriveInput, Expr, ExprLit, Fields, Ident, Lit, Variant};

use crate::attr;
use crate::errors::Errors;
use crate::fallback;
use crate::model::refuse_generics;

/// Parses, checks and emits.
pub(crate) fn expand(input: &DeriveInput) -> TokenStream {
    let mut errors = Errors::default();
    let names = read(input, &mut errors);
    if !errors.is_empty() {
        let (errors, fallback) = (errors.to_compile_errors(), fallback::choice(input));
        return quote!(#errors #fallback);
    }
    emit(&input.ident, &names)
}

/// Reads the variants and their names.
fn read<'a>(input: &'a DeriveInput, errors: &mut Errors) -> Vec<(&'a Ident, String)> {
    attr::refuse(&input.attrs, "choice", "a variant", errors);
    refuse_generics(&input.generics, "Choice", errors);
    let data = match &input.data {
        Data::Enum(data) => data,
        Data::Struct(data) => {
            errors.at(data.struct_token, "`Choice` is for enums: the variants are the values");
            return Vec::new();
        }
        Data::Union(data) => {
            errors.at(data.union_token, "`Choice` is for enums: the variants are the values");
            return Vec::new();
        }
    };
    if data.variants.is_empty() {
        errors.at(&input.ident, "a choice needs a variant: no value would be valid");
    }
    let mut names: Vec<(&Ident, String)> = Vec::new();
    for variant in &data.variants {
        if !matches!(variant.fields, Fields::Unit) {
            errors.at(&variant.fields, "a choice is a name: write the variant without fields");
        }
        let renamed = rename(variant, errors);
        let name = renamed
            .as_ref()
            .map_or_else(|| snake_case(&variant.ident.unraw().to_string()), syn::LitStr::value);
        if let Some((other, _)) = names.iter().find(|(_, taken)| *taken == name) {
            let message = format!(
                "`{name}` is already the name of `{other}`: write `#[choice(rename = \"...\")]`"
            );
            match &renamed {
                Some(literal) => errors.at(literal, message),
                // Two variants of one identifier are the compiler's to report.
                None if *other == &variant.ident => {}
                None => errors.at(&variant.ident, message),
            }
        }
        names.push((&variant.ident, name));
    }
    names
}

fn rename(variant: &Variant, errors: &mut Errors) -> Option<syn::LitStr> {
    let mut renamed = None;
    attr::for_each_option(&variant.attrs, "choice", errors, |option, value, errors| {
        if option != "rename" {
            return errors.at(
                option,
                attr::unknown(&option.to_string(), &["rename"], &[("name", "rename")]),
            );
        }
        if renamed.is_some() {
            return errors.at(option, "`rename` is given twice");
        }
        match value {
            Some(Expr::Lit(ExprLit { lit: Lit::Str(text), .. })) if !text.value().is_empty() => {
                renamed = Some(text);
            }
            Some(Expr::Lit(ExprLit { lit: Lit::Str(text), .. })) => {
                errors.at(text, "a choice is not empty");
            }
            Some(value) => errors.at(value, "`rename` is a text in double quotes"),
            None => errors.at(option, "write `rename = \"...\"`"),
        }
    });
    renamed
}

fn emit(ident: &Ident, names: &[(&Ident, String)]) -> TokenStream {
    let (variants, names): (Vec<_>, Vec<_>) =
        names.iter().map(|(variant, name)| (*variant, name)).unzip();
    quote! {
        #[automatically_derived]
        impl ::cog_train::Choice for #ident {
            const NAMES: &'static [&'static str] = &[#(#names),*];

            fn from_name(name: &str) -> ::core::option::Option<Self> {
                match name {
                    #(#names => ::core::option::Option::Some(Self::#variants),)*
                    _ => ::core::option::Option::None,
                }
            }

            fn name(&self) -> &'static str {
                match self {
                    #(Self::#variants => #names,)*
                }
            }
        }

        #[automatically_derived]
        impl ::cog_train::input::Item for #ident {
            const KIND: ::cog_train::input::Kind =
                ::cog_train::input::Kind::Choice(<Self as ::cog_train::Choice>::NAMES);

            fn from_value(value: &::cog_train::serde_json::Value) -> ::core::option::Option<Self> {
                <Self as ::cog_train::Choice>::from_name(value.as_str()?)
            }
        }
    }
}

/// Converts a name to snake case: `PlainSgd` is `plain_sgd`, `HTTPServer` is `http_server`, `Fp16` is `fp16`.
fn snake_case(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let mut snake = String::new();
    for (index, &letter) in letters.iter().enumerate() {
        let before = index.checked_sub(1).map(|index| letters[index]);
        let after = letters.get(index + 1);
        let starts_word = letter.is_uppercase()
            && before.is_some_and(|before| {
                before.is_lowercase()
                    || before.is_numeric()
                    || (before.is_uppercase() && after.is_some_and(|after| after.is_lowercase()))
            });
        if starts_word {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_snake_case() {
        for (variant, name) in [
            ("AdamW", "adam_w"),
            ("PlainSgd", "plain_sgd"),
            ("HTTPServer", "http_server"),
            ("Fp16", "fp16"),
            ("Q4KM", "q4_km"),
            ("A", "a"),
            ("SGD", "sgd"),
            ("already_snake", "already_snake"),
            ("With_Underscore", "with_underscore"),
            ("ÉtéLong", "été_long"),
        ] {
            assert_eq!(snake_case(variant), name);
        }
    }

    fn messages(item: &str) -> Vec<String> {
        let mut errors = Errors::default();
        let input: DeriveInput = syn::parse_str(item).unwrap();
        read(&input, &mut errors);
        errors.messages()
    }

    #[test]
    fn mistakes_are_all_reported() {
        let enumeration = r#"
            #[choice(rename = "x")]
            enum A<T> { B(T), #[choice(rename = "")] C, #[choice(rename = "b")] D, #[choice(nmae = "e")] E, #[choice(rename = 1)] F }
        "#;
        assert_eq!(messages(enumeration).len(), 7, "{:#?}", messages(enumeration));
        assert_eq!(messages("enum A { HttpServer, HTTPServer }").len(), 1);
        assert_eq!(messages("enum A {}").len(), 1);
        assert_eq!(messages("struct A;").len(), 1);
        assert_eq!(messages("enum A { B, #[choice(rename = \"c\")] C = 4 }"), Vec::<String>::new());
    }
}
