//! The code of the book's pages, which the documentation tests compile and run.

macro_rules! pages {
    ($($name:ident: $file:literal,)*) => {
        $(#[doc = include_str!(concat!("../docs/", $file))] mod $name {})*
    };
}

pages! {
    configuration: "configuration.md",
    container: "container.md",
    data: "data.md",
    errors: "errors.md",
    exact_resume: "exact-resume.md",
    files: "files.md",
    first_training: "first-training.md",
    fit: "fit.md",
    inputs: "inputs.md",
    lora: "lora.md",
    model: "model.md",
    porting: "porting.md",
    resume: "resume.md",
    serve: "serve.md",
}
