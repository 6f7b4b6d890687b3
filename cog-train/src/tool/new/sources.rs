//! The sources and the data of each template, from the examples of the repository.

use std::path::Path;

use super::File;
use crate::tool::template::Template;

/// A file of an example, as text that gets the paths of the new crate, or as it is.
macro_rules! example {
    ($($path:literal => $to:literal),* $(,)?) => {
        vec![$((
            $to,
            &include_bytes!(concat!("../../../examples/", $path))[..],
        )),*]
    };
}

/// Returns the files of a template but for those that every crate has.
pub(super) fn files(template: Template) -> Vec<File> {
    let mut files = match template {
        Template::Function => example![
            "hello_train/main.rs" => "src/main.rs",
            "hello_train/data/points.jsonl" => "data/points.jsonl",
        ],
        Template::Text => example![
            "lora_finetune/main.rs" => "src/main.rs",
            "lora_finetune/chat.jsonl" => "data/chat.jsonl",
            "text_finetune/base/config.json" => "base/config.json",
            "text_finetune/base/model.safetensors" => "base/model.safetensors",
            "text_finetune/base/tokenizer.json" => "base/tokenizer.json",
            "text_finetune/base/tokenizer_config.json" => "base/tokenizer_config.json",
            "text_finetune/base/chat_template.jinja" => "base/chat_template.jinja",
        ],
        Template::Classify => [
            example![
                "classify/main.rs" => "src/main.rs",
                "classify/data/reviews.jsonl" => "data/reviews.jsonl",
            ],
            encoder(),
        ]
        .concat(),
        Template::Embed => [
            example![
                "embed/main.rs" => "src/main.rs",
                "embed/pairs.rs" => "src/pairs.rs",
                "embed/data/pairs.jsonl" => "data/pairs.jsonl",
            ],
            encoder(),
        ]
        .concat(),
        Template::Image => example![
            "image_classifier/main.rs" => "src/main.rs",
            "image_classifier/batch.rs" => "src/batch.rs",
            "image_classifier/idx.rs" => "src/idx.rs",
            "image_classifier/model.rs" => "src/model.rs",
            "image_classifier/pgm.rs" => "src/pgm.rs",
            "image_classifier/data/train-images.gz" => "data/train-images.gz",
            "image_classifier/data/train-labels.gz" => "data/train-labels.gz",
            "image_classifier/data/test-images.gz" => "data/test-images.gz",
            "image_classifier/data/test-labels.gz" => "data/test-labels.gz",
            "image_classifier/data/seven.pgm" => "data/seven.pgm",
            "image_classifier/data/three.pgm" => "data/three.pgm",
        ],
        Template::Custom => example![
            "custom_loop/main.rs" => "src/main.rs",
            "custom_loop/network.rs" => "src/network.rs",
            "custom_loop/tides.rs" => "src/tides.rs",
        ],
    };
    files.extend(test(template).map(|text| ("src/tests.rs", text.as_bytes())));
    let mut files: Vec<File> = files
        .into_iter()
        .map(|(path, content)| match std::str::from_utf8(content) {
            Ok(text) if is_source(path) => File::new(path, adapted(text)),
            _ => File::new(path, content),
        })
        .collect();
    files.push(File::new("cog.yaml", cog_yaml(template)));
    files
}

fn is_source(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|extension| extension == "rs")
}

/// The small encoder that texts are classified and embedded with.
fn encoder() -> Vec<(&'static str, &'static [u8])> {
    example![
        "classify/base/config.json" => "base/config.json",
        "classify/base/model.safetensors" => "base/model.safetensors",
        "classify/base/tokenizer.json" => "base/tokenizer.json",
        "classify/base/tokenizer_config.json" => "base/tokenizer_config.json",
    ]
}

/// The test of a template whose main file names one.
fn test(template: Template) -> Option<&'static str> {
    match template {
        Template::Text => Some(include_str!("tests/text.rs")),
        Template::Classify => Some(include_str!("tests/classify.rs")),
        Template::Embed => Some(include_str!("tests/embed.rs")),
        Template::Function | Template::Image | Template::Custom => None,
    }
}

/// Changes what belongs to the repository: paths, commands, and lints that are off in a new crate.
fn adapted(text: &str) -> String {
    let mut text: String = text
        .split_inclusive('\n')
        .filter(|line| !line.starts_with("#![expect(unreachable_pub"))
        .collect();
    for (from, to) in [
        ("cargo run --release --example hello_train", "cargo run --release"),
        ("cargo run --example classify", "cargo run"),
        ("cargo run --example embed", "cargo run"),
        ("cargo run --example image_classifier", "cargo run"),
        ("examples/text_finetune/base", "base"),
        ("examples/classify/base", "base"),
        ("examples/lora_finetune/chat.jsonl", "data/chat.jsonl"),
        ("examples/classify/data/", "data/"),
        ("examples/embed/data/", "data/"),
        ("examples/image_classifier/data/", "data/"),
        ("include_bytes!(\"data/", "include_bytes!(\"../data/"),
        (", config = \"cog.yaml\"", ""),
        ("#[expect(clippy::", "#[allow(clippy::"),
        (
            "    points: Path,\n",
            "    #[input(default = \"data/points.jsonl\")]\n    points: Path,\n",
        ),
    ] {
        text = text.replace(from, to);
    }
    text
}

fn cog_yaml(template: Template) -> String {
    let names: &[(&str, &str)] = match template {
        Template::Function | Template::Text => &[("train", "train")],
        Template::Classify => &[("train", "classify"), ("run", "Labeller")],
        Template::Embed => &[("train", "Embed"), ("run", "Embedder")],
        Template::Image => &[("train", "ImageClassifier"), ("run", "DigitReader")],
        Template::Custom => &[("train", "CustomLoop")],
    };
    let references = names.iter().map(|(key, name)| format!("{key}: \"src/main.rs:{name}\"\n"));
    format!("build:\n  gpu: false\n{}", references.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn sources_name_nothing_of_the_repository() {
        for template in Template::ALL {
            let files = files(template);
            for file in files.iter().filter(|file| is_source(&file.path)) {
                let text = std::str::from_utf8(&file.content).unwrap();
                for word in
                    ["examples/", "--example", "expect(clippy", "expect(unreachable", "/../"]
                {
                    assert!(!text.contains(word), "{}: {}: `{word}`", template.name(), file.path);
                }
            }
            let main = files.iter().find(|file| file.path == "src/main.rs").unwrap();
            let main = std::str::from_utf8(&main.content).unwrap();
            assert!(main.contains("#[cfg(test)]"), "{}", template.name());
            let modules =
                main.lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'));
            for module in modules {
                let path = format!("src/{module}.rs");
                assert!(files.iter().any(|file| file.path == path), "{}: {path}", template.name());
            }
        }
    }

    #[test]
    fn each_cog_yaml_names_what_its_main_file_runs() {
        for template in Template::ALL {
            let text = cog_yaml(template);
            let (config, notes) = Config::parse(&text, "cog.yaml").unwrap();
            assert!(notes.is_empty(), "{notes:?}");
            let files = files(template);
            let main = String::from_utf8(files[0].content.clone()).unwrap();
            let train = config.train().unwrap().name();
            let run = match config.predict() {
                Some(predictor) => format!("run!({train}, predictor = {})", predictor.name()),
                None => format!("run!({train})"),
            };
            assert!(main.contains(&run), "{run}");
        }
    }
}
