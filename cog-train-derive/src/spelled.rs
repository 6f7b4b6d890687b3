//! Syntactic classification of a field's type. A derive sees tokens, not types: spellings in the table of input types
//! are known here, some spellings can never be an input, and the rest is left to the compiler.

use syn::{GenericArgument, PathArguments, Type, TypePath};

/// A classified type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spelled {
    pub(crate) item: Item,
    /// Whether it is a `Vec`; `None` when it is unknown.
    pub(crate) list: Option<bool>,
}

/// The kind of one value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Item {
    String,
    Integer {
        name: &'static str,
        min: i128,
        max: i128,
    },
    F32,
    F64,
    Bool,
    Path,
    Secret,
    Object,
    Any,
    /// An alias, a `#[derive(Choice)]` enum, or a mistake that the compiler will find.
    Unknown,
}

const INTEGERS: [(&str, i128, i128); 10] = [
    ("i8", i8::MIN as i128, i8::MAX as i128),
    ("i16", i16::MIN as i128, i16::MAX as i128),
    ("i32", i32::MIN as i128, i32::MAX as i128),
    ("i64", i64::MIN as i128, i64::MAX as i128),
    ("u8", 0, u8::MAX as i128),
    ("u16", 0, u16::MAX as i128),
    ("u32", 0, u32::MAX as i128),
    ("u64", 0, u64::MAX as i128),
    // The widest: a machine with narrower pointers refuses larger values at run time.
    ("isize", i64::MIN as i128, i64::MAX as i128),
    ("usize", 0, u64::MAX as i128),
];

/// The types of an input, for messages.
const INPUT_TYPES: &str = "inputs are `String`, integers, `f32`, `f64`, `bool`, `cog_train::Path`, `Secret`, \
     `serde_json::Map`, `serde_json::Value`, an enum with `#[derive(Choice)]`, and `Option` or `Vec` of these";

/// Classifies an input's type.
///
/// # Errors
///
/// A spelling that cannot be an input, at its token.
pub(crate) fn input(ty: &Type) -> syn::Result<Spelled> {
    let Some(inner) = argument(ty, Wrapper::Option) else {
        return list_or_item(ty, Some(false));
    };
    if argument(inner, Wrapper::Option).is_some() {
        return wrong(inner, "an `Option` in an `Option`: one is enough, write `Option<T>`");
    }
    list_or_item(inner, Some(false))
}

fn list_or_item(ty: &Type, single: Option<bool>) -> syn::Result<Spelled> {
    let Some(inner) = argument(ty, Wrapper::Vec) else {
        let item = item(ty)?;
        // An alias may be a `Vec`.
        return Ok(Spelled { item, list: if item == Item::Unknown { None } else { single } });
    };
    if argument(inner, Wrapper::Vec).is_some() {
        return wrong(
            inner,
            "lists are not nested: write `Vec<T>`, or `serde_json::Value` for any other shape",
        );
    }
    if argument(inner, Wrapper::Option).is_some() {
        return wrong(
            inner,
            "the items of a list are not optional: write `Vec<T>` or `Option<Vec<T>>`",
        );
    }
    Ok(Spelled { item: item(inner)?, list: Some(true) })
}

fn item(ty: &Type) -> syn::Result<Item> {
    let ty = bare(ty);
    let Type::Path(path) = ty else {
        return match ty {
            Type::Reference(reference)
                if names(&reference.elem).as_deref() == Some(&["str".to_owned()][..]) =>
            {
                wrong(ty, "an input owns its value: write `String`")
            }
            Type::Reference(_) => wrong(ty, "an input owns its value: write the type without `&`"),
            Type::Array(_) | Type::Slice(_) => wrong(ty, "write a list as `Vec<T>`"),
            Type::Tuple(_) => {
                wrong(ty, "a tuple is not an input: write one field for each value, or `Vec<T>`")
            }
            // `_`, `typeof`, a macro: the compiler's own messages are better.
            Type::Infer(_) | Type::Macro(_) | Type::Verbatim(_) => Ok(Item::Unknown),
            _ => wrong(ty, INPUT_TYPES),
        };
    };
    if let Some(lifetime) = lifetime(path) {
        return wrong(lifetime, "an input owns its value: write a type without lifetimes");
    }
    let Some(names) = names(ty) else { return Ok(Item::Unknown) };
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    known(&names).map_err(|message| syn::Error::new_spanned(ty, message))
}

/// Returns the kind that a path names, by any path to the type.
fn known(names: &[&str]) -> Result<Item, &'static str> {
    const FILE: &str =
        "a file is written `cog_train::Path`, which is fetched before `train` is called";
    const OBJECT: &str = "an object is written `serde_json::Map<String, serde_json::Value>`";
    Ok(match names {
        ["String"] | ["std" | "alloc", "string", "String"] => Item::String,
        ["f32"] | ["std" | "core", "primitive", "f32"] => Item::F32,
        ["f64"] | ["std" | "core", "primitive", "f64"] => Item::F64,
        ["bool"] | ["std" | "core", "primitive", "bool"] => Item::Bool,
        ["Path"] | ["cog_train", "Path"] | ["cog_train", "prelude" | "input", "Path"] => Item::Path,
        ["Secret"] | ["cog_train", "Secret"] | ["cog_train", "prelude" | "input", "Secret"] => {
            Item::Secret
        }
        ["serde_json", "Map"] | ["cog_train", "serde_json", "Map"] => Item::Object,
        ["serde_json", "Value"] | ["cog_train", "serde_json", "Value"] => Item::Any,
        ["PathBuf"] | ["std", "path", "PathBuf" | "Path"] | ["path", "PathBuf" | "Path"] => {
            return Err(FILE);
        }
        ["Duration"] | ["std" | "core", "time", "Duration"] | ["time", "Duration"] => {
            return Err("write a duration as a number, `f64` or `u64`, and its unit in the name");
        }
        ["HashMap" | "BTreeMap"] | ["std", "collections", "HashMap" | "BTreeMap"] => {
            return Err(OBJECT);
        }
        ["i128" | "u128"] => {
            return Err("128 bits are more than JSON's numbers hold: write `i64` or `u64`");
        }
        ["char"] => {
            return Err("write `String`, with `min_length = 1, max_length = 1` for one character");
        }
        ["str"] => return Err("an input owns its value: write `String`"),
        [name] | ["std" | "core", "primitive", name] => {
            match INTEGERS.iter().find(|integer| integer.0 == *name) {
                Some(&(name, min, max)) => Item::Integer { name, min, max },
                None => Item::Unknown,
            }
        }
        _ => Item::Unknown,
    })
}

/// Refuses spellings that can never be a field of an output struct.
///
/// # Errors
///
/// A spelling that cannot be an output, at its token.
pub(crate) fn output_field(ty: &Type) -> syn::Result<()> {
    let inner = argument(ty, Wrapper::Option).unwrap_or(ty);
    if argument(inner, Wrapper::Option).is_some() {
        return wrong(inner, "an `Option` in an `Option`: one is enough, write `Option<T>`");
    }
    let mut item = inner;
    while let Some(inner) = argument(item, Wrapper::Vec) {
        item = inner;
    }
    let names = names(item).unwrap_or_default();
    match names.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["PathBuf"] | ["std", "path", "PathBuf" | "Path"] | ["path", "PathBuf" | "Path"] => {
            wrong(item, "a file is written `cog_train::Path`")
        }
        ["Secret"] | ["cog_train", "Secret"] => {
            wrong(item, "a `Secret` is not returned: outputs are written to files and logs")
        }
        _ => Ok(()),
    }
}

/// Whether a type is `()`.
pub(crate) fn is_unit(ty: &Type) -> bool {
    matches!(bare(ty), Type::Tuple(tuple) if tuple.elems.is_empty())
}

/// Whether a path's last segment is `Job`.
pub(crate) fn is_job(ty: &Type) -> bool {
    names(bare(ty)).is_some_and(|names| names.last().is_some_and(|name| name == "Job"))
}

#[derive(Clone, Copy, PartialEq)]
enum Wrapper {
    Option,
    Vec,
}

/// Returns the `T` of `Option<T>` or `Vec<T>`.
fn argument(ty: &Type, wrapper: Wrapper) -> Option<&Type> {
    let ty = bare(ty);
    let names = names(ty)?;
    let found = match names.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["Option"] | ["std" | "core", "option", "Option"] => Wrapper::Option,
        ["Vec"] | ["std" | "alloc", "vec", "Vec"] => Wrapper::Vec,
        _ => return None,
    };
    let Type::Path(path) = ty else { return None };
    let PathArguments::AngleBracketed(arguments) = &path.path.segments.last()?.arguments else {
        return None;
    };
    match arguments.args.iter().collect::<Vec<_>>()[..] {
        [GenericArgument::Type(inner)] if found == wrapper => Some(inner),
        _ => None,
    }
}

/// Returns the segments of a path, without arguments.
fn names(ty: &Type) -> Option<Vec<String>> {
    let Type::Path(TypePath { qself: None, path, .. }) = ty else { return None };
    Some(path.segments.iter().map(|segment| segment.ident.to_string()).collect())
}

fn lifetime(path: &TypePath) -> Option<&syn::Lifetime> {
    path.path.segments.iter().find_map(|segment| match &segment.arguments {
        PathArguments::AngleBracketed(arguments) => {
            arguments.args.iter().find_map(|argument| match argument {
                GenericArgument::Lifetime(lifetime) => Some(lifetime),
                _ => None,
            })
        }
        _ => None,
    })
}

/// Strips parentheses and the groups around `macro_rules!` fragments.
fn bare(ty: &Type) -> &Type {
    match ty {
        Type::Paren(paren) => bare(&paren.elem),
        Type::Group(group) => bare(&group.elem),
        _ => ty,
    }
}

fn wrong<T>(tokens: impl quote::ToTokens, message: &str) -> syn::Result<T> {
    Err(syn::Error::new_spanned(tokens, message))
}

#[cfg(test)]
mod tests;
