//! The model of a declaration: a set of inputs and its fields, from a struct or from a function's parameters.

use proc_macro2::Ident;
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Attribute, Data, DeriveInput, Fields, Token, Type, punctuated::Punctuated};

use crate::attr::{self, Options};
use crate::errors::Errors;
use crate::spelled::{self, Spelled};

/// A set of inputs.
pub(crate) struct Inputs {
    pub(crate) ident: Ident,
    pub(crate) about: String,
    pub(crate) fields: Vec<Field>,
}

/// One input.
pub(crate) struct Field {
    pub(crate) ident: Ident,
    /// Without `r#`.
    pub(crate) name: String,
    pub(crate) ty: Type,
    /// `None`: a mistake, reported.
    pub(crate) spelled: Option<Spelled>,
    pub(crate) description: String,
    pub(crate) options: Options,
}

impl Inputs {
    /// The inputs that a struct declares.
    pub(crate) fn read(input: &DeriveInput, derive: &str, errors: &mut Errors) -> Self {
        attr::refuse(&input.attrs, "input", "a field", errors);
        let fields = named_fields(input, derive, errors)
            .into_iter()
            .flatten()
            .filter_map(|field| {
                Some(Field::read(field.ident.as_ref()?, &field.ty, &field.attrs, errors))
            })
            .collect();
        Self { ident: input.ident.clone(), about: attr::docs(&input.attrs), fields }
    }

    /// Whether two fields have the same name, which the compiler reports itself.
    pub(crate) fn has_repeated_names(&self) -> bool {
        let mut names = std::collections::HashSet::new();
        !self.fields.iter().all(|field| names.insert(&field.name))
    }
}

impl Field {
    /// Reads an input from its name, its type and its attributes.
    pub(crate) fn read(ident: &Ident, ty: &Type, attrs: &[Attribute], errors: &mut Errors) -> Self {
        let spelled = spelled::input(ty).map_err(|error| errors.push(error)).ok();
        let options = Options::read(attrs, errors);
        let description = match options.description.as_ref().map(|written| &written.value.literal) {
            Some(crate::value::Literal::Str(text)) => text.clone(),
            _ => attr::docs(attrs),
        };
        Self {
            ident: ident.clone(),
            name: ident.unraw().to_string(),
            ty: ty.clone(),
            spelled,
            description,
            options,
        }
    }
}

/// Returns the fields of a struct with named fields and without generics, and refuses anything else.
pub(crate) fn named_fields<'a>(
    input: &'a DeriveInput,
    derive: &str,
    errors: &mut Errors,
) -> Option<&'a Punctuated<syn::Field, Token![,]>> {
    // A field with the lifetime or parameter would repeat the mistake.
    if refuse_generics(&input.generics, derive, errors) {
        return None;
    }
    let ident = &input.ident;
    match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => return Some(&fields.named),
            Fields::Unnamed(fields) => {
                errors.at(fields, format!("`{derive}` needs a name for each field: write `struct {ident} {{ name: Type }}`"));
            }
            Fields::Unit => errors.at(ident, format!("`{derive}` needs a struct with braces: write `struct {ident} {{}}`")),
        },
        Data::Enum(data) if derive.ends_with("Inputs") => errors.at(
            data.enum_token,
            format!("`{derive}` is for structs; an enum with `#[derive(Choice)]` is a type of one of its fields"),
        ),
        Data::Enum(data) => errors.at(data.enum_token, format!("`{derive}` is for structs")),
        Data::Union(data) => errors.at(data.union_token, format!("`{derive}` is for structs")),
    }
    None
}

/// Refuses generics, and returns whether there are any: a table and a schema belong to one type.
pub(crate) fn refuse_generics(generics: &syn::Generics, what: &str, errors: &mut Errors) -> bool {
    if !generics.params.is_empty() {
        errors
            .at(generics, format!("`{what}` takes no generics and lifetimes: write the types out"));
    } else if let Some(clause) = &generics.where_clause {
        errors.push(syn::Error::new(clause.span(), format!("`{what}` takes no `where` clause")));
    }
    !generics.params.is_empty() || generics.where_clause.is_some()
}
