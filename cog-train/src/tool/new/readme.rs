//! The `README.md` of a new crate.

use crate::tool::template::Template;

/// Returns the text for people who know no more than the crate's name.
pub(super) fn readme(name: &str, template: Template) -> String {
    let Parts { data, more, predict } = parts(template);
    let title = {
        let about = template.about();
        about[..1].to_uppercase() + &about[1..]
    };
    let (result, inspect) = match template {
        Template::Function => ("weights.json", ""),
        _ => ("weights", ", `cog-train inspect weights` what they left"),
    };
    let predict = if predict.is_empty() {
        String::new()
    } else {
        format!("\n## Predict\n\n```sh\n{predict}\n```\n")
    };
    format!(
        "# {name}

{title}. Written by `cog-train new {name} --template {}`.

```sh
cargo run                # builds for some minutes, once, and trains; the result is `{result}`, and each run has a folder in `runs/`
cargo run -- --help      # the inputs, with their defaults
cargo run -- --dry-run   # what a run would do and need
cargo run -- --resume    # continues the newest run
cargo test
```

## Your data

{data}

Many inputs fit into a file: `cargo run -- --inputs run.yaml` with a line `NAME: VALUE` for each.
{more}{predict}
## Next

- `cargo build --release` for long trainings, and `--features cuda` for NVIDIA GPUs.
- `cargo run -- ui` shows the runs in a browser, `cargo run -- serve` trains over HTTP.
- `cog-train runs` lists the runs{inspect}.
",
        template.name()
    )
}

struct Parts {
    data: &'static str,
    /// A paragraph on what the template trains, if there is one.
    more: &'static str,
    predict: &'static str,
}

fn parts(template: Template) -> Parts {
    match template {
        Template::Function => Parts {
            data: "`data/points.jsonl` has a point on each line. Train on another file with `cargo run -- -i points=FILE`; what a line \
                   is, `read` in `src/main.rs` decides.",
            more: "",
            predict: "",
        },
        Template::Text => Parts {
            data: "`data/chat.jsonl` has a conversation with `messages` on each line, as Hugging Face and OpenAI write it. Train on \
                   yours with `cargo run -- -i train_data=FILE`.",
            more: "\nThe model in `base/` is tiny, for a first try. One of Hugging Face's by its name:\n\n\
                   ```sh\ncargo run --release -- -i base_model=HuggingFaceTB/SmolLM2-135M-Instruct -i learning_rate=2e-4\n```\n\n\
                   The result is an adapter that PEFT opens. `cog-train merge weights -o model` merges it into the base.\n",
            predict: "",
        },
        Template::Classify => Parts {
            data: "`data/reviews.jsonl` has a `text` and its `label` on each line; CSV with these columns will do, too. Train on yours \
                   with `cargo run -- -i train_data=FILE`.",
            more: "\nThe encoder in `base/` is tiny. One of Hugging Face's by its name: `-i base_model=google-bert/bert-base-uncased \
                   -i learning_rate=5e-5`.\n",
            predict: "COG_WEIGHTS=weights/model cargo run -- predict -i text=\"the room was not bad at all\"",
        },
        Template::Embed => Parts {
            data: "`data/pairs.jsonl` has two texts that belong together on each line, `anchor` and `positive`. Train on yours with \
                   `cargo run -- -i train_data=FILE`.",
            more: "\nThe encoder in `base/` is tiny. One of Hugging Face's by its name: \
                   `-i base_model=sentence-transformers/all-MiniLM-L6-v2 -i learning_rate=2e-5`.\n",
            predict: "COG_WEIGHTS=weights/model cargo run -- predict -i text=\"the shower is broken\"",
        },
        Template::Image => Parts {
            data: "`data/` has drawn digits in MNIST's format. Train on MNIST itself with \
                   `cargo run -- -i images=train-images-idx3-ubyte.gz -i labels=train-labels-idx1-ubyte.gz`.",
            more: "",
            predict: "COG_WEIGHTS=weights cargo run -- predict -i image=@data/seven.pgm",
        },
        Template::Custom => Parts {
            data: "Without inputs it learns the tides of a made-up harbour. Train on a CSV file with `cargo run -- -i table=FILE`; \
                   `src/tides.rs` reads it, and `src/network.rs` is the network.",
            more: "",
            predict: "",
        },
    }
}
