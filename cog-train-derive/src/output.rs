//! Implementation of `#[derive(TrainOutput)]` and `#[derive(PredictOutput)]`: a struct as a tree of its fields.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{DeriveInput, Field, Ident};

use crate::errors::Errors;
use crate::model::named_fields;
use crate::{fallback, spelled};

/// Parses, checks and emits. `name` is `TrainOutput` or `PredictOutput`.
pub(crate) fn expand(input: &DeriveInput, name: &Ident) -> TokenStream {
    let mut errors = Errors::default();
    // Cog finds a training's output in the schema by this name.
    if name == "TrainOutput" && input.ident != "TrainingOutput" {
        errors.at(
            &input.ident,
            "a training's output is found by its name: write `struct TrainingOutput`",
        );
    }
    let fields: Vec<&Field> =
        named_fields(input, &name.to_string(), &mut errors).into_iter().flatten().collect();
    for field in &fields {
        if let Err(error) = spelled::output_field(&field.ty) {
            errors.push(error);
        }
    }
    let mut names = std::collections::HashSet::new();
    let is_repeated =
        !fields.iter().all(|field| names.insert(field.ident.as_ref().map(Ident::unraw)));
    if is_repeated || !errors.is_empty() {
        let (errors, fallback) = (errors.to_compile_errors(), fallback::output(input, name));
        return quote!(#errors #fallback);
    }
    emit(&input.ident, name, &fields)
}

fn emit(ident: &Ident, name: &Ident, fields: &[&Field]) -> TokenStream {
    let types = fields.iter().map(|field| {
        let (name, value) = (field_name(field), value(field));
        quote! {
            ::cog_train::output::OutputField {
                name: #name,
                ty: #value::output_type(),
                optional: #value::OPTIONAL,
            }
        }
    });
    let values = fields.iter().map(|field| {
        let (ident, name, value) = (&field.ident, field_name(field), value(field));
        quote!((::std::string::String::from(#name), #value::into_output(self.#ident)))
    });
    quote! {
        #[automatically_derived]
        impl ::cog_train::#name for #ident {
            fn output_type() -> ::cog_train::output::OutputType {
                ::cog_train::output::OutputType::Fields(::std::vec::Vec::from([#(#types),*]))
            }

            fn into_output(self) -> ::cog_train::output::Output {
                ::cog_train::output::Output::Object(::std::vec::Vec::from([#(#values),*]))
            }
        }
    }
}

/// Emits the field's type, with its span, where "not a type of an output" is then reported.
fn value(field: &Field) -> TokenStream {
    let ty = &field.ty;
    quote_spanned!(ty.span()=> <#ty as ::cog_train::output::OutputFieldValue>)
}

fn field_name(field: &Field) -> String {
    field.ident.as_ref().map(|ident| ident.unraw().to_string()).unwrap_or_default()
}
