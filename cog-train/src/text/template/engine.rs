//! The template engine as `transformers` sets Jinja up: block trimming, loop controls, `raise_exception`, `strftime_now`, `tojson`,
//! and Python's methods and spelling of values.

use std::fmt;
use std::sync::LazyLock;
use std::time::SystemTime;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Rest, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State, Value};
use minijinja_contrib::pycompat::unknown_method_callback;

use super::generation::{self, Marks};
use super::python::{self, Json};
use super::strftime::strftime;

/// The variable with the marks of `{% generation %}`.
pub(super) const MARKS: &str = "__generation_marks";

/// An upper bound on the work and the memory of one rendering: the engine takes 1 for an instruction, of which a turn of a
/// conversation has some hundred, and for 64 bytes of texts that are made, which are 128 MiB in all.
const FUEL: u64 = 1 << 21;

/// The stack of the threads that render: more than a value as deep as [`FUEL`] can nest it needs to be dropped.
const STACK: usize = 1 << 29;

/// The threads that render. Only what is used of their stacks takes memory.
static RENDERING: LazyLock<Option<rayon::ThreadPool>> = LazyLock::new(|| {
    let name = |at| format!("render-{at}");
    rayon::ThreadPoolBuilder::new().stack_size(STACK).thread_name(name).build().ok()
});

/// Calls `work` on a thread whose stack suffices for whatever a template nests. Where no thread can be had, it is called here.
pub(super) fn with_deep_stack<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    match &*RENDERING {
        Some(threads) => threads.install(work),
        None => work(),
    }
}

/// The text of `raise_exception`.
#[derive(Debug)]
pub(super) struct Raised(pub(super) String);

impl fmt::Display for Raised {
    fn fmt(&self, form: &mut fmt::Formatter<'_>) -> fmt::Result {
        form.write_str(&self.0)
    }
}

impl std::error::Error for Raised {}

/// Makes an environment without templates. `now` is the time of `strftime_now`, by default the time of the call.
pub(super) fn environment(now: Option<SystemTime>) -> Environment<'static> {
    let mut engine = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    engine.set_syntax(syntax.expect("Jinja's own delimiters are valid"));
    engine.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    engine.set_fuel(Some(FUEL));
    engine.set_formatter(|out, state, value| {
        out.write_str(&python::str(state, value)?).map_err(Error::from)
    });
    engine.set_unknown_method_callback(method);
    engine.add_filter("tojson", tojson);
    engine.add_filter("string", |state: &State, value: &Value| python::str(state, value));
    engine.add_test("sequence", is_sequence);
    engine.add_function(
        "raise_exception",
        |state: &State, message: &Value| -> Result<Value, Error> {
            let message = python::str(state, message)?;
            Err(Error::new(ErrorKind::InvalidOperation, "raised").with_source(Raised(message)))
        },
    );
    engine.add_function("strftime_now", move |format: &str| {
        strftime(format, now.unwrap_or_else(SystemTime::now))
    });
    engine.add_function(generation::FUNCTION, generated);
    engine
}

/// Puts the output of a block between its marks.
#[expect(clippy::needless_pass_by_value, reason = "the engine gives arguments by value")]
fn generated(state: &mut State, options: Kwargs) -> Result<String, Error> {
    let body: Value = options.get("caller")?;
    let body = body.call(state, &[])?;
    let marks = state.lookup(MARKS).and_then(|marks| {
        let mut marks = marks.as_str()?.chars();
        Some(Marks { open: marks.next()?, close: marks.next()? })
    });
    Ok(match marks {
        Some(Marks { open, close }) => format!("{open}{body}{close}"),
        None => body.to_string(),
    })
}

/// Jinja's test: whatever has a length and items.
fn is_sequence(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::Seq | ValueKind::Map | ValueKind::String)
}

/// `tojson(ensure_ascii=False, indent=None, separators=None, sort_keys=False)`.
#[expect(clippy::needless_pass_by_value, reason = "the engine gives arguments by value")]
fn tojson(
    state: &State,
    value: &Value,
    given: Rest<Value>,
    options: Kwargs,
) -> Result<String, Error> {
    let option = |at: usize, name: &str| -> Result<Option<Value>, Error> {
        let named: Option<Value> = options.get(name)?;
        Ok(given.get(at).cloned().or(named).filter(|value| !value.is_none()))
    };
    let indent = option(1, "indent")?.map(|indent| match indent.as_usize() {
        Some(width) => Ok(" ".repeat(width.min(64))),
        None => python::str(state, &indent),
    });
    let indent = indent.transpose()?;
    let separators = option(2, "separators")?.map(|pair| {
        let pair = pair.try_iter()?.take(3).map(|separator| python::str(state, &separator));
        <[String; 2]>::try_from(pair.collect::<Result<Vec<_>, _>>()?)
            .map(|[item, key]| (item, key))
            .map_err(|_| {
                Error::new(
                    ErrorKind::InvalidOperation,
                    "`separators` of tojson must be two strings",
                )
            })
    });
    let json = Json {
        ensure_ascii: option(0, "ensure_ascii")?.is_some_and(|value| value.is_true()),
        indent,
        separators: separators.transpose()?,
        sort_keys: option(3, "sort_keys")?.is_some_and(|value| value.is_true()),
    };
    options.assert_all_used()?;
    json.dumps(state, value)
}

/// Python's methods of strings that the engine's own set does not have.
fn method(
    state: &mut State,
    value: &Value,
    method: &str,
    arguments: &[Value],
) -> Result<Value, Error> {
    let argument = |at: usize| arguments.get(at).and_then(Value::as_str);
    let found = match (value.as_str(), method, argument(0)) {
        (Some(text), "removeprefix", Some(prefix)) => {
            Some(text.strip_prefix(prefix).unwrap_or(text).into())
        }
        (Some(text), "removesuffix", Some(suffix)) => {
            Some(text.strip_suffix(suffix).unwrap_or(text).into())
        }
        (Some(text), "partition", Some(separator)) if !separator.is_empty() => {
            let (head, tail) = text.split_once(separator).unwrap_or((text, ""));
            let found = if head.len() < text.len() { separator } else { "" };
            Some(list([head, found, tail]))
        }
        (Some(text), "rpartition", Some(separator)) if !separator.is_empty() => {
            let split = text.rsplit_once(separator);
            let (head, tail) = split.unwrap_or(("", text));
            Some(list([head, if split.is_some() { separator } else { "" }, tail]))
        }
        (Some(text), "rsplit", Some(separator)) if !separator.is_empty() => {
            let most = arguments.get(1).and_then(Value::as_usize).unwrap_or(usize::MAX - 1);
            let mut parts: Vec<&str> = text.rsplitn(most.saturating_add(1), separator).collect();
            parts.reverse();
            Some(list(parts))
        }
        (Some(text), "zfill", None) => {
            let width = arguments.first().and_then(Value::as_usize).unwrap_or_default().min(1024);
            let (sign, digits) = match text.strip_prefix(['-', '+']) {
                Some(digits) => text.split_at(text.len() - digits.len()),
                None => ("", text),
            };
            let missing = width.saturating_sub(text.chars().count());
            Some(format!("{sign}{}{digits}", "0".repeat(missing)).into())
        }
        _ => None,
    };
    found.map_or_else(|| unknown_method_callback(state, value, method, arguments), Ok)
}

fn list<'a>(parts: impl IntoIterator<Item = &'a str>) -> Value {
    Value::from(parts.into_iter().map(str::to_owned).collect::<Vec<String>>())
}
