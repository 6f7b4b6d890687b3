//! Texts of the errors of others: the system's, candle's, `anyhow`'s, and panics.

/// Formats one link of an error's chain, without candle's backtrace.
pub(crate) fn plain(cause: &(dyn std::error::Error + 'static)) -> String {
    if let Some(error) = cause.downcast_ref::<candle_core::Error>() {
        plain_tensor(error)
    } else if let Some(error) = cause.downcast_ref::<std::io::Error>() {
        plain_io(error)
    } else {
        cause.to_string()
    }
}

/// Formats a system error without its "(os error 2)".
pub(crate) fn plain_io(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error ") {
        Some((text, _)) => lower_first(text),
        None => text,
    }
}

/// Formats candle's error without the backtrace that its `Display` adds.
pub(crate) fn plain_tensor(error: &candle_core::Error) -> String {
    use candle_core::Error as E;
    match error {
        E::WithBacktrace { inner, .. } => plain_tensor(inner),
        E::WithPath { inner, path } => format!("{}: {}", path.display(), plain_tensor(inner)),
        E::Context { inner, context } => format!("{context}: {}", plain_tensor(inner)),
        other => other.to_string(),
    }
}

/// Returns the printed backtrace of an error, if `RUST_BACKTRACE` asked for one: candle's, which begins where the error
/// arose, else that of the conversion into [`anyhow::Error`].
pub(crate) fn backtrace(error: &anyhow::Error) -> Option<String> {
    use candle_core::Error as E;
    fn of_tensor(error: &E) -> Option<String> {
        match error {
            E::WithBacktrace { backtrace, .. } => Some(backtrace.to_string()),
            E::WithPath { inner, .. } | E::Context { inner, .. } => of_tensor(inner),
            _ => None,
        }
    }
    let tensor = error.chain().find_map(|cause| of_tensor(cause.downcast_ref()?));
    tensor.or_else(|| {
        let own = error.backtrace();
        (own.status() == std::backtrace::BacktraceStatus::Captured).then(|| own.to_string())
    })
}

/// Returns the text of a panic's payload.
pub(crate) fn panic_message(payload: &(dyn std::any::Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(a panic without a text)")
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}
