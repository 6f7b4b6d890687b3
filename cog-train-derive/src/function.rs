//! Implementation of `#[cog_train::train]`: a trainer from a function. The parameters are the fields of its inputs.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Attribute, FnArg, ItemFn, Pat, PatType, ReturnType, Safety, Type};

use crate::errors::Errors;
use crate::model::{Field, Inputs, refuse_generics};
use crate::{attr, check, emit, fallback, spelled};

/// The value of a parameter.
enum Argument {
    Input,
    Job,
}

/// Parses, checks and emits.
pub(crate) fn expand(arguments: TokenStream, function: &ItemFn) -> TokenStream {
    let mut errors = Errors::default();
    if !arguments.is_empty() {
        errors.at(
            arguments,
            "`#[cog_train::train]` has no options: those of an input go before its parameter",
        );
    }
    check_signature(function, &mut errors);
    let (fields, order) = read_parameters(function, &mut errors);
    for field in &fields {
        check::check(field, &mut errors);
    }
    let inputs = Inputs {
        ident: Ident::new("__Inputs", Span::mixed_site()),
        about: attr::docs(&function.attrs),
        fields,
    };
    let plain = strip_options(function);
    if inputs.has_repeated_names() || !errors.is_empty() {
        return with_errors(&errors, function, plain);
    }
    let name = unit_struct(function);
    let trainer = emit(function, &inputs, &order);
    quote!(#plain #name #trainer)
}

/// Refuses an item that is not a function, or that does not parse.
pub(crate) fn refuse(error: &syn::Error, item: TokenStream) -> TokenStream {
    let Ok(item) = syn::parse2::<syn::Item>(item) else { return error.to_compile_error() };
    let mut errors = Errors::default();
    errors.push(syn::Error::new(
        error.span(),
        "`#[cog_train::train]` is for functions: for a type, implement `cog_train::Trainer`",
    ));
    let errors = errors.to_compile_errors();
    quote!(#errors #item)
}

/// Checks the signature of a trainer function.
fn check_signature(function: &ItemFn, errors: &mut Errors) {
    let signature = &function.sig;
    if let Some(token) = &signature.asyncness {
        errors.at(token, "a trainer is not async: it runs on a thread of its own");
    }
    if let Safety::Unsafe(token) = &signature.safety {
        errors.at(token, "a trainer is not unsafe: it is called from safe code");
    }
    if let Some(abi) = &signature.abi {
        errors.at(abi, "a trainer is a Rust function: write `fn` alone");
    }
    refuse_generics(&signature.generics, "#[cog_train::train]", errors);
    match &signature.output {
        ReturnType::Default => {
            errors.at(
                &signature.ident,
                "a trainer returns what it made: write `-> Result<Path>` or another output",
            );
        }
        ReturnType::Type(_, ty) if spelled::is_unit(ty) => {
            errors.at(ty, "a trainer returns what it made: write `Result<Path>` or another output");
        }
        ReturnType::Type(_, ty) => match &**ty {
            Type::ImplTrait(_) => errors.at(ty, "write the type itself: the schema names it"),
            Type::Never(_) => errors
                .at(ty, "a trainer returns what it made: write `Result<Path>` or another output"),
            _ => {}
        },
    }
}

/// Reads the inputs, and the value of each parameter.
fn read_parameters(function: &ItemFn, errors: &mut Errors) -> (Vec<Field>, Vec<Argument>) {
    let (mut fields, mut order) = (Vec::new(), Vec::new());
    for parameter in &function.sig.inputs {
        let parameter = match parameter {
            FnArg::Typed(parameter) => parameter,
            FnArg::Receiver(receiver) => {
                errors.at(
                    receiver,
                    "a trainer function has no `self`: for a shared setup, implement `cog_train::Trainer` for a type",
                );
                continue;
            }
        };
        if let Some(given) = job_parameter(parameter) {
            match given {
                Ok(()) if order.iter().any(|argument| matches!(argument, Argument::Job)) => {
                    errors.at(parameter, "`&mut Job` is given twice");
                }
                Ok(()) => {
                    attr::refuse(
                        &parameter.attrs,
                        "input",
                        "an input, and this is the job",
                        errors,
                    );
                }
                Err(error) => errors.push(error),
            }
            order.push(Argument::Job);
            continue;
        }
        match &*parameter.pat {
            Pat::Ident(pat) if pat.by_ref.is_none() && pat.subpat.is_none() => {
                fields.push(Field::read(&pat.ident, &parameter.ty, &parameter.attrs, errors));
                order.push(Argument::Input);
            }
            pat => errors.at(
                pat,
                "a parameter is an input, and its name is the input's: write `name: Type`",
            ),
        }
    }
    (fields, order)
}

/// Recognizes the job among the parameters; fails when it is not written `&mut Job`.
fn job_parameter(parameter: &PatType) -> Option<syn::Result<()>> {
    let wrong = |message: &str| Some(Err(syn::Error::new_spanned(&parameter.ty, message)));
    match &*parameter.ty {
        Type::Reference(reference)
            if spelled::is_job(&reference.elem) && reference.mutability.is_some() =>
        {
            Some(Ok(()))
        }
        ty @ Type::Reference(reference)
            if spelled::is_job(&reference.elem) || spelled::is_job(ty) =>
        {
            wrong("reporting changes the job: write `&mut Job`")
        }
        ty if spelled::is_job(ty) => wrong("the job is borrowed: write `&mut Job`"),
        Type::Reference(reference) if reference.mutability.is_some() => {
            wrong("a parameter is an input, which is owned, or `&mut Job`")
        }
        _ => None,
    }
}

/// Emits the trainer's type under the function's name. With braces it is not a value, whose name the function has.
fn unit_struct(function: &ItemFn) -> TokenStream {
    let ItemFn { vis, sig, .. } = function;
    let name = &sig.ident;
    let attrs = function.attrs.iter().filter(|attr| is_shared(attr));
    quote! {
        #(#attrs)*
        #[allow(non_camel_case_types)]
        #vis struct #name {}
    }
}

fn emit(function: &ItemFn, inputs: &Inputs, order: &[Argument]) -> TokenStream {
    let ItemFn { vis, sig, .. } = function;
    let name = &sig.ident;
    let cfgs = function.attrs.iter().filter(|attr| attr.path().is_ident("cfg"));
    let inputs_type = &inputs.ident;
    let (fields, types): (Vec<_>, Vec<_>) =
        inputs.fields.iter().map(|field| (&field.ident, &field.ty)).unzip();
    let table = emit::inputs(inputs, &Ident::new("TrainInputs", Span::mixed_site()));
    let ReturnType::Type(_, output) = &sig.output else {
        unreachable!("`check_signature` requires one")
    };
    let given = Ident::new(if fields.is_empty() { "_" } else { "inputs" }, Span::mixed_site());
    let takes_job = order.iter().any(|argument| matches!(argument, Argument::Job));
    let job = Ident::new(if takes_job { "job" } else { "_" }, Span::mixed_site());
    let mut next = fields.iter();
    let arguments = order.iter().map(|argument| match argument {
        Argument::Job => job.to_token_stream(),
        Argument::Input => {
            let field = next.next();
            quote!(#given.#field)
        }
    });
    // With the span of the return type, where "cannot be returned by a trainer" is then reported, once.
    let trainer = quote_spanned! {output.span()=>
        #[automatically_derived]
        impl ::cog_train::Trainer for #name {
            type Inputs = #inputs_type;
            type Output = <#output as ::cog_train::__private::Returned>::Output;

            fn setup(_: &::cog_train::Setup) -> ::cog_train::anyhow::Result<Self> {
                ::core::result::Result::Ok(Self {})
            }

            fn train(
                &mut self,
                #given: Self::Inputs,
                #job: &mut ::cog_train::Job,
            ) -> ::cog_train::anyhow::Result<Self::Output> {
                <#output as ::cog_train::__private::Returned>::into_result(#name(#(#arguments),*))
            }
        }
    };
    quote! {
        #(#cfgs)*
        const _: () = {
            #vis struct #inputs_type { #(#fields: #types),* }
            #table
            #trainer
        };
    }
}

/// Emits the mistakes, the function without options, and a placeholder trainer.
fn with_errors(errors: &Errors, function: &ItemFn, mut plain: ItemFn) -> TokenStream {
    let errors = errors.to_compile_errors();
    let name = &function.sig.ident;
    if function.sig.receiver().is_some() {
        // Perhaps inside an `impl`, where a struct is not allowed; without `self` the body does not compile.
        plain.sig.inputs =
            plain.sig.inputs.into_iter().filter(|input| matches!(input, FnArg::Typed(_))).collect();
        plain.block = syn::parse_quote!({ ::core::unimplemented!() });
        return quote!(#errors #[allow(unused_variables)] #plain);
    }
    let (unit, trainer) = (unit_struct(function), fallback::trainer(name));
    quote!(#errors #plain #unit #trainer)
}

/// Returns the function without docs and `#[input]` on its parameters, where the compiler does not allow them.
///
/// The parameters are owned and may be many, which Clippy must not blame on the author. The runner reads an input named
/// `seed`, so the function need not.
fn strip_options(function: &ItemFn) -> ItemFn {
    let mut plain = function.clone();
    plain.attrs.push(
        syn::parse_quote!(#[allow(clippy::needless_pass_by_value, clippy::too_many_arguments)]),
    );
    for parameter in &mut plain.sig.inputs {
        let attrs = match parameter {
            FnArg::Typed(parameter) => &mut parameter.attrs,
            FnArg::Receiver(receiver) => &mut receiver.attrs,
        };
        attrs.retain(|attr| !attr.path().is_ident("input") && !attr.path().is_ident("doc"));
        if let FnArg::Typed(PatType { attrs, pat, .. }) = parameter
            && matches!(&**pat, Pat::Ident(pat) if pat.ident == "seed")
        {
            attrs.push(syn::parse_quote!(#[allow(unused_variables)]));
        }
    }
    plain
}

/// Whether an attribute applies to the struct as well as to the function.
fn is_shared(attr: &Attribute) -> bool {
    ["doc", "cfg", "deprecated"].iter().any(|name| attr.path().is_ident(name))
}
