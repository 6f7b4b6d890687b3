//! Generation of the code for a set of inputs: a table, a constructor, and constant checks for unknown types.

use proc_macro2::{Ident, Literal as Token, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;

use crate::attr::Written;
use crate::model::{Field, Inputs};
use crate::spelled::Item;
use crate::value::{Literal, Value};

/// Emits `impl TrainInputs` or `impl PredictInputs`, and the checks.
pub(crate) fn inputs(inputs: &Inputs, name: &Ident) -> TokenStream {
    let Inputs { ident, about, fields } = inputs;
    let about = (!about.is_empty()).then(|| quote!(const ABOUT: &'static str = #about;));
    let rows = fields.iter().map(row);
    // Hygienic: a field, a constant or a function of the author's may be named `values`, too.
    let values = Ident::new(if fields.is_empty() { "_" } else { "values" }, Span::mixed_site());
    let made = constructed(fields, &values);
    let checks = fields.iter().flat_map(checks);
    quote! {
        #[automatically_derived]
        impl ::cog_train::#name for #ident {
            #about
            const TABLE: &'static [::cog_train::input::Spec] = &[#(#rows),*];

            fn from_values(
                #values: &::cog_train::input::Values,
            ) -> ::core::result::Result<Self, ::cog_train::input::Problems> {
                #made
            }
        }
        #(#checks)*
    }
}

/// Emits a row: `Spec::new("epochs", <u32 as InputType>::TYPE).default(..).ge(..)`.
fn row(field: &Field) -> TokenStream {
    let Field { name, description, options, .. } = field;
    let ty = ty(field);
    let description = (!description.is_empty()).then(|| quote!(.description(#description)));
    let default = options.default.as_ref().map(|written| {
        let value = literal(&written.value);
        quote!(.default(#value))
    });
    let ge = options.ge.as_ref().map(|written| {
        let number = number(&written.value);
        quote!(.ge(#number))
    });
    let le = options.le.as_ref().map(|written| {
        let number = number(&written.value);
        quote!(.le(#number))
    });
    let min_length = options.min_length.as_ref().map(|written| {
        let length = length(&written.value);
        quote!(.min_length(#length))
    });
    let max_length = options.max_length.as_ref().map(|written| {
        let length = length(&written.value);
        quote!(.max_length(#length))
    });
    let regex = options.regex.as_ref().map(|Written { value, .. }| {
        let Value { tokens, .. } = value;
        quote!(.regex(#tokens))
    });
    let choices = options.choices.as_ref().map(|Written { value, .. }| {
        let items = value.items().iter().map(literal);
        quote!(.choices(&[#(#items),*]))
    });
    let deprecated = options
        .deprecated
        .as_ref()
        .filter(|written| matches!(written.value.literal, Literal::Bool(true)));
    let deprecated = deprecated.map(|_| quote!(.deprecated()));
    quote! {
        ::cog_train::input::Spec::new(#name, #ty)
            #description #default #ge #le #min_length #max_length #regex #choices #deprecated
    }
}

/// Emits the field's type in the table, with the span of the type, where "not a type of an input" is then reported.
fn ty(field: &Field) -> TokenStream {
    let ty = &field.ty;
    quote_spanned!(ty.span()=> <#ty as ::cog_train::input::InputType>::TYPE)
}

/// Emits the constructor's result: `Ok(Self { epochs: .., .. })`.
fn constructed(fields: &[Field], values: &Ident) -> TokenStream {
    let names = fields.iter().map(|field| &field.ident);
    let takes = fields.iter().map(|field| take(field, values));
    let made = quote!(Self { #(#names: #takes),* });
    let Some(seed) = fields.iter().find(|field| field.name == "seed").map(|field| &field.ident)
    else {
        return quote!(::core::result::Result::Ok(#made));
    };
    // The runner reads an input named `seed`, and the author reads `Job::seed`: the field itself is often unread.
    let inputs = Ident::new("inputs", Span::mixed_site());
    quote! {
        let #inputs = #made;
        let _ = &#inputs.#seed;
        ::core::result::Result::Ok(#inputs)
    }
}

fn take(field: &Field, values: &Ident) -> TokenStream {
    let Field { name, ty, .. } = field;
    quote_spanned!(ty.span()=> <#ty as ::cog_train::input::InputType>::take(#values, #name)?)
}

/// Emits a literal: `Literal::Int(3)`.
fn literal(value: &Value) -> TokenStream {
    let value = match &value.literal {
        Literal::Bool(value) => quote!(Bool(#value)),
        Literal::Int(number) => {
            let number = int(*number);
            quote!(Int(#number))
        }
        Literal::Float(number) => {
            let number = float(*number);
            quote!(Float(#number))
        }
        Literal::Str(text) => quote!(Str(#text)),
        Literal::Path(path) => {
            quote_spanned!(path.span()=> Variant(|| ::cog_train::Choice::name(&#path)))
        }
        Literal::List(items) => {
            let items = items.iter().map(literal);
            quote!(List(&[#(#items),*]))
        }
    };
    quote!(::cog_train::input::Literal::#value)
}

/// Emits a bound: `Number::Int(1)`.
fn number(value: &Value) -> TokenStream {
    let number = match value.literal {
        Literal::Float(number) => {
            let number = float(number);
            quote!(Float(#number))
        }
        Literal::Int(number) => {
            let number = int(number);
            quote!(Int(#number))
        }
        _ => unreachable!("`attr` takes numbers only"),
    };
    quote!(::cog_train::input::Number::#number)
}

fn length(value: &Value) -> TokenStream {
    match value.literal {
        Literal::Int(length) => int(length),
        _ => unreachable!("`attr` takes numbers only"),
    }
}

/// Emits a number; a minus is a token of its own.
fn int(number: i128) -> TokenStream {
    let minus = (number < 0).then(|| quote!(-));
    let digits = Token::u128_unsuffixed(number.unsigned_abs());
    quote!(#minus #digits)
}

fn float(number: f64) -> TokenStream {
    let minus = number.is_sign_negative().then(|| quote!(-));
    let digits = Token::f64_unsuffixed(number.abs());
    quote!(#minus #digits)
}

/// Emits the checks that need the compiler: rules and defaults of a type that is not in the table of input types, and
/// that a variant belongs to the field's enum.
fn checks(field: &Field) -> Vec<TokenStream> {
    if field.spelled.is_none_or(|spelled| spelled.item != Item::Unknown) {
        return Vec::new();
    }
    let options = &field.options;
    let ty = ty(field);
    let call = |span: Span, function: &str, argument: Option<TokenStream>| {
        let function = Ident::new(function, span);
        let argument = argument.map(|argument| quote!(, #argument));
        quote_spanned!(span=> const _: () = ::cog_train::__private::verify::#function(#ty #argument);)
    };
    let mut checks = Vec::new();
    for bound in [&options.ge, &options.le].into_iter().flatten() {
        checks.push(call(bound.value.span(), "bound", Some(number(&bound.value))));
    }
    for rule in [&options.min_length, &options.max_length, &options.regex].into_iter().flatten() {
        checks.push(call(rule.name.span(), "text", None));
    }
    if let Some(Written { name, value }) = &options.choices {
        checks.push(call(name.span(), "choices", None));
        checks.extend(
            value.items().iter().map(|choice| call(choice.span(), "choice", Some(literal(choice)))),
        );
    }
    if let Some(Written { value, .. }) = &options.default {
        let is_list = matches!(value.literal, Literal::List(_));
        if is_list {
            checks.push(call(value.span(), "list", None));
        }
        for value in value.items() {
            checks.push(match &value.literal {
                Literal::Path(path) => variant(path, field),
                _ => call(
                    value.span(),
                    if is_list { "item" } else { "single" },
                    Some(literal(value)),
                ),
            });
        }
    }
    checks
}

/// Emits a function, never called, that returns the variant as a value of the field's type.
fn variant(path: &syn::ExprPath, field: &Field) -> TokenStream {
    let ty = &field.ty;
    let item = quote_spanned!(ty.span()=> <#ty as ::cog_train::input::InputType>::Item);
    quote_spanned!(path.span()=> const _: fn() -> #item = || #path;)
}
