//! The names of a family's tensors in files, and the ones that the head models of transformers give them.

/// The rules by which the files of a family name their tensors.
#[derive(Debug)]
pub(crate) struct Names {
    /// The body's prefix in a model with a head. A file of the body alone lacks it.
    pub(crate) prefix: &'static str,
    /// The prefixes of heads, which stand beside the body.
    pub(crate) heads: &'static [&'static str],
    /// Ends of names that a model computes itself.
    pub(crate) harmless: &'static [&'static str],
    /// Parts of old names and what they are now.
    pub(crate) renamed: &'static [(&'static str, &'static str)],
}

impl Names {
    /// The name of a file's tensor in a model with a head.
    pub(crate) fn canonical(&self, stored: &str) -> String {
        let mut name = stored.to_owned();
        for (old, new) in self.renamed {
            if let Some(start) = name.strip_suffix(old) {
                name = format!("{start}{new}");
            }
        }
        if name.starts_with(self.prefix) || self.is_of_head(&name) {
            name
        } else {
            format!("{}{name}", self.prefix)
        }
    }

    /// Whether a tensor belongs to a head.
    pub(crate) fn is_of_head(&self, name: &str) -> bool {
        self.heads.iter().any(|head| name.starts_with(head))
    }

    /// Whether a tensor of a file is no parameter.
    pub(crate) fn is_harmless(&self, name: &str) -> bool {
        self.harmless.iter().any(|end| name.ends_with(end))
    }
}
