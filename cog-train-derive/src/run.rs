//! Implementation of `run!`: the `main` of a trainer's binary.

use std::path::{Path, PathBuf};

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::spanned::Spanned;
use syn::{LitStr, Token, Type};

use crate::attr;
use crate::errors::Errors;

/// The arguments of `run!`.
#[derive(Default)]
struct Program {
    trainer: Option<Type>,
    predictor: Option<Type>,
    config: Option<LitStr>,
    system_allocator: bool,
}

const OPTIONS: [&str; 3] = ["predictor", "config", "allocator"];

/// Parses, checks and emits.
pub(crate) fn expand(input: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let program = match (|input: ParseStream<'_>| Program::read(input, &mut errors)).parse2(input) {
        Ok(program) => program,
        Err(error) => {
            errors.push(error);
            Program::default()
        }
    };
    if errors.is_empty() && program.trainer.is_none() && program.predictor.is_none() {
        errors.push(syn::Error::new(
            Span::call_site(),
            "nothing to run: write `run!(Trainer)`, `run!(Trainer, predictor = Predictor)` or `run!(predictor = Predictor)`",
        ));
    }
    if let Some(config) = &program.config
        && let Some(message) = missing(config)
    {
        errors.at(config, message);
    }
    if !errors.is_empty() {
        let errors = errors.to_compile_errors();
        // Or the compiler would report a missing `main`, too.
        return quote!(#errors fn main() {});
    }
    emit(&program)
}

impl Program {
    fn read(input: ParseStream<'_>, errors: &mut Errors) -> syn::Result<Self> {
        let mut program = Self::default();
        let mut seen: Vec<String> = Vec::new();
        let mut first = true;
        while !input.is_empty() {
            if input.peek(syn::Ident::peek_any) && input.peek2(Token![=]) {
                let name = input.call(Ident::parse_any)?;
                input.parse::<Token![=]>()?;
                let word = name.to_string();
                if seen.contains(&word) {
                    errors.at(&name, format!("`{word}` is given twice"));
                }
                program.option(&name, input, errors)?;
                seen.push(word);
            } else {
                let ty: Type = input.parse()?;
                if first {
                    program.trainer = named(ty, errors);
                } else {
                    errors.at(
                        ty,
                        "the trainer comes first, alone; the rest are options: `predictor = ...`",
                    );
                }
            }
            first = false;
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(program)
    }

    fn option(
        &mut self,
        name: &Ident,
        input: ParseStream<'_>,
        errors: &mut Errors,
    ) -> syn::Result<()> {
        match name.to_string().as_str() {
            "predictor" => self.predictor = named(input.parse()?, errors),
            "config" => {
                if let Ok(file) = input.parse::<LitStr>() {
                    self.config = Some(file);
                } else {
                    let value: syn::Expr = input.parse()?;
                    errors.at(value, "`config` is a file's name in double quotes");
                }
            }
            "allocator" => {
                let value: syn::Expr = input.parse()?;
                self.system_allocator = true;
                if !matches!(&value, syn::Expr::Path(path) if path.path.is_ident("system")) {
                    errors.at(
                        value,
                        "write `allocator = system` to keep the system's, or leave it out",
                    );
                }
            }
            word => {
                errors.at(name, attr::unknown(word, &OPTIONS, &[]));
                input.parse::<syn::Expr>()?;
            }
        }
        Ok(())
    }
}

/// Refuses a type without a name, which `cog.yaml` needs.
fn named(ty: Type, errors: &mut Errors) -> Option<Type> {
    if last_segment(&ty).is_none() {
        errors.at(&ty, "write the name of a type: `cog.yaml` refers to it");
        return None;
    }
    Some(ty)
}

fn emit(program: &Program) -> TokenStream {
    let allocator = (!program.system_allocator).then(|| {
        quote! {
            #[global_allocator]
            static ALLOCATOR: ::cog_train::__private::Allocator = ::cog_train::__private::Allocator;
        }
    });
    let trainer = program.trainer.as_ref().map(|ty| {
        let name = last_segment(ty);
        quote_spanned!(ty.span()=> .trainer::<#ty>(#name))
    });
    let predictor = program.predictor.as_ref().map(|ty| {
        let name = last_segment(ty);
        quote_spanned!(ty.span()=> .predictor::<#ty>(#name))
    });
    let config = match &program.config {
        Some(file) => Some(quote!(.config(#file, ::core::include_str!(#file)))),
        None => beside_manifest()
            .map(|file| quote!(.shared_config("cog.yaml", ::core::include_str!(#file)))),
    };
    let app = quote! {
        ::cog_train::__private::App::new(::core::env!("CARGO_MANIFEST_DIR"), ::core::file!())
            .target(::core::option_env!("CARGO_BIN_NAME"))
            #trainer #predictor #config
    };
    if is_part_of_the_tool() {
        return quote! {
            pub(crate) fn app() -> ::cog_train::__private::App {
                #app
            }
        };
    }
    quote! {
        #allocator
        fn main() -> ::std::process::ExitCode {
            ::cog_train::__private::main(&#app)
        }
    }
}

/// Whether the program `cog-train` is compiled, whose modules are programs themselves: it has a `main` and an allocator of its own.
fn is_part_of_the_tool() -> bool {
    ["CARGO_PKG_NAME", "CARGO_BIN_NAME"]
        .iter()
        .all(|name| std::env::var(name).is_ok_and(|value| value == "cog-train"))
}

/// Returns the package's own `cog.yaml`, if it exists.
fn beside_manifest() -> Option<String> {
    let file = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR")?).join("cog.yaml");
    file.is_file().then(|| file.to_str().map(str::to_owned))?
}

/// Returns the message for a `config` that does not exist. An editor may not know the path of the source:
/// `include_str!` reports the file then.
fn missing(config: &LitStr) -> Option<String> {
    if !proc_macro::is_available() {
        return None;
    }
    let source = config.span().unwrap().local_file()?;
    let file = source.parent().unwrap_or(Path::new("")).join(config.value());
    // The span's path is relative to the compiler's working directory. In another one the source is not found either.
    if !source.is_file() || file.is_file() {
        return None;
    }
    Some(format!("there is no file `{}`: `config` is relative to this source file", config.value()))
}

/// Returns the last segment of a type's path: its name in `cog.yaml`, messages and folders.
fn last_segment(ty: &Type) -> Option<String> {
    match ty {
        Type::Path(path) => {
            path.path.segments.last().map(|segment| segment.ident.unraw().to_string())
        }
        Type::Group(group) => last_segment(&group.elem),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(text: &str) -> Vec<String> {
        let mut errors = Errors::default();
        let parsed = (|input: ParseStream<'_>| Program::read(input, &mut errors)).parse_str(text);
        parsed.err().into_iter().map(|error| error.to_string()).chain(errors.messages()).collect()
    }

    #[test]
    fn options_come_in_any_order_after_the_trainer() {
        for text in [
            "T",
            "a::b::T,",
            "T<Llama>, predictor = P, config = \"cog.yaml\", allocator = system",
            "T, allocator = system, predictor = P",
            "predictor = P",
            "config = \"cog.yaml\", predictor = P",
        ] {
            assert_eq!(messages(text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (text, message) in [
            ("T, predicter = P", "unknown option `predicter`: did you mean `predictor`?"),
            ("T, predictor = P, predictor = Q", "`predictor` is given twice"),
            ("T, P", "the trainer comes first, alone; the rest are options: `predictor = ...`"),
            (
                "predictor = P, T",
                "the trainer comes first, alone; the rest are options: `predictor = ...`",
            ),
            ("T, config = CONFIG", "`config` is a file's name in double quotes"),
            (
                "T, allocator = mimalloc",
                "write `allocator = system` to keep the system's, or leave it out",
            ),
            ("(T, U)", "write the name of a type: `cog.yaml` refers to it"),
        ] {
            assert_eq!(messages(text), [message], "{text}");
        }
    }

    #[test]
    fn the_name_is_the_last_segment() {
        for (ty, name) in [("T", "T"), ("a::b::T", "T"), ("a::T<b::U>", "T"), ("r#train", "train")]
        {
            assert_eq!(last_segment(&syn::parse_str(ty).unwrap()).as_deref(), Some(name));
        }
    }
}
