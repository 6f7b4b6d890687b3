//! Placeholder implementations for declarations with a mistake: every trait is implemented, so that one mistake never
//! causes a second error elsewhere.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::{DeriveInput, GenericParam, Generics, Ident};

/// Emits an empty set of inputs. `name` is `TrainInputs` or `PredictInputs`.
pub(crate) fn inputs(input: &DeriveInput, name: &Ident) -> TokenStream {
    let (header, ty) = header(&input.ident, &input.generics);
    quote! {
        impl #header ::cog_train::#name for #ty {
            const TABLE: &'static [::cog_train::input::Spec] = &[];

            fn from_values(
                _: &::cog_train::input::Values,
            ) -> ::core::result::Result<Self, ::cog_train::input::Problems> {
                ::core::unimplemented!()
            }
        }
    }
}

/// Emits an output. `name` is `TrainOutput` or `PredictOutput`.
pub(crate) fn output(input: &DeriveInput, name: &Ident) -> TokenStream {
    let (header, ty) = header(&input.ident, &input.generics);
    quote! {
        impl #header ::cog_train::#name for #ty {
            fn output_type() -> ::cog_train::output::OutputType {
                ::core::unimplemented!()
            }

            fn into_output(self) -> ::cog_train::output::Output {
                ::core::unimplemented!()
            }
        }
    }
}

/// Emits a choice without names.
pub(crate) fn choice(input: &DeriveInput) -> TokenStream {
    let (header, ty) = header(&input.ident, &input.generics);
    quote! {
        impl #header ::cog_train::Choice for #ty {
            const NAMES: &'static [&'static str] = &[];

            fn from_name(_: &str) -> ::core::option::Option<Self> {
                ::core::option::Option::None
            }

            fn name(&self) -> &'static str {
                ""
            }
        }

        impl #header ::cog_train::input::Item for #ty {
            const KIND: ::cog_train::input::Kind = ::cog_train::input::Kind::Choice(&[]);

            fn from_value(_: &::cog_train::serde_json::Value) -> ::core::option::Option<Self> {
                ::core::option::Option::None
            }
        }
    }
}

/// Emits a trainer without inputs under the function's name.
pub(crate) fn trainer(name: &Ident) -> TokenStream {
    quote! {
        impl ::cog_train::Trainer for #name {
            type Inputs = ::cog_train::__private::InvalidInputs;
            type Output = bool;

            fn setup(_: &::cog_train::Setup) -> ::cog_train::anyhow::Result<Self> {
                ::core::unimplemented!()
            }

            fn train(
                &mut self,
                _: Self::Inputs,
                _: &mut ::cog_train::Job,
            ) -> ::cog_train::anyhow::Result<Self::Output> {
                ::core::unimplemented!()
            }
        }
    }
}

/// Returns the parameters of `impl` and the type with its arguments. The traits require `'static`, so lifetimes become
/// that.
fn header(ident: &Ident, generics: &Generics) -> (TokenStream, TokenStream) {
    if generics.params.is_empty() {
        return (TokenStream::new(), ident.to_token_stream());
    }
    let parameters = generics.params.iter().filter_map(|parameter| match parameter {
        GenericParam::Lifetime(_) => None,
        GenericParam::Type(parameter) => {
            let (ident, bounds) = (&parameter.ident, &parameter.bounds);
            Some(quote!(#ident: 'static + #bounds))
        }
        GenericParam::Const(parameter) => {
            let (ident, ty) = (&parameter.ident, &parameter.ty);
            Some(quote!(const #ident: #ty))
        }
    });
    let arguments = generics.params.iter().map(|parameter| match parameter {
        GenericParam::Lifetime(_) => quote!('static),
        GenericParam::Type(parameter) => parameter.ident.to_token_stream(),
        GenericParam::Const(parameter) => parameter.ident.to_token_stream(),
    });
    (quote!(<#(#parameters),*>), quote!(#ident<#(#arguments),*>))
}
