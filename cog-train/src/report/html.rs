//! The page as text.

use std::fmt::Write;

const STYLE: &str = include_str!("style.css");

/// A page that grows from top to bottom.
pub(super) struct Page {
    text: String,
    is_open: bool,
}

/// A part of a whole.
pub(super) struct Part {
    pub(super) name: &'static str,
    pub(super) size: f64,
    /// The size as a person reads it.
    pub(super) shown: String,
}

impl Page {
    pub(super) fn new(title: &str) -> Self {
        let title = escaped(title);
        let text = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\n\
             <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n"
        );
        Self { text, is_open: false }
    }

    /// Begins a section.
    pub(super) fn section(&mut self, title: &str) {
        self.close();
        self.is_open = true;
        let _ = writeln!(self.text, "<section>\n<h2>{}</h2>", escaped(title));
    }

    fn close(&mut self) {
        if std::mem::take(&mut self.is_open) {
            self.text.push_str("</section>\n");
        }
    }

    /// Adds an element with a text.
    pub(super) fn element(&mut self, name: &str, class: &str, text: &str) {
        let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
        let _ = writeln!(self.text, "<{name}{class} dir=\"auto\">{}</{name}>", escaped(text));
    }

    /// Adds markup that is escaped already.
    pub(super) fn raw(&mut self, markup: &str) {
        self.text.push_str(markup);
    }

    /// Adds a table. The first cell of a row is its head.
    pub(super) fn table(&mut self, class: &str, head: &[String], rows: &[Vec<String>]) {
        let _ = writeln!(self.text, "<div class=\"wide\"><table class=\"{class}\">");
        if !head.is_empty() {
            let cells = head.iter().map(|it| format!("<th scope=\"col\">{}</th>", escaped(it)));
            let _ = writeln!(self.text, "<thead><tr>{}</tr></thead>", cells.collect::<String>());
        }
        self.text.push_str("<tbody>\n");
        for row in rows {
            let cell = |(at, text): (usize, &String)| match at {
                0 => format!("<th scope=\"row\" dir=\"auto\">{}</th>", escaped(text)),
                _ => format!("<td dir=\"auto\">{}</td>", escaped(text)),
            };
            let cells: String = row.iter().enumerate().map(cell).collect();
            let _ = writeln!(self.text, "<tr>{cells}</tr>");
        }
        self.text.push_str("</tbody></table></div>\n");
    }

    /// Adds a table of parts of a whole, each with its value, its percentage and a bar.
    pub(super) fn shares(&mut self, title: &str, parts: &[Part]) {
        let whole: f64 = parts.iter().map(|part| part.size).sum();
        if whole <= 0.0 {
            return;
        }
        let _ = writeln!(
            self.text,
            "<figure><figcaption><b>{}</b></figcaption><table class=\"shares\"><tbody>",
            escaped(title)
        );
        for Part { name, size, shown } in parts {
            let percent = 100.0 * size / whole;
            let _ = writeln!(
                self.text,
                "<tr><th scope=\"row\">{}</th><td>{}</td><td>{percent:.1} %</td><td class=\"of\"><i style=\"width:{percent:.1}%\"></i></td></tr>",
                escaped(name),
                escaped(shown),
            );
        }
        self.text.push_str("</tbody></table></figure>\n");
    }

    pub(super) fn finish(mut self) -> String {
        self.close();
        self.text.push_str("</body>\n</html>\n");
        self.text
    }
}

/// Escapes a text for HTML, also within a quoted attribute. Characters that no document may hold are replaced.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\t' | '\n' | '\r' => escaped.push(c),
            c if c.is_control() => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}
