//! The text of the Dockerfile.

use std::collections::BTreeSet;
use std::fmt::Write;

use serde_json::Value;

use super::quote::{folded, quoted};
use super::sources::Sources;
use crate::config::{Command, Config};

/// The recipe of an image: what it is built from, and what is said of it.
pub(super) struct Recipe<'a> {
    pub(super) sources: &'a Sources,
    pub(super) config: &'a Config,
    /// The OpenAPI document on one line.
    pub(super) schema: &'a str,
    /// The label `run.cog.config`.
    pub(super) label: &'a Value,
    pub(super) cog_version: &'a str,
    /// The release of CUDA; none for an image without it.
    pub(super) cuda: Option<&'a str>,
    /// Whether the image serves the predictor by default.
    pub(super) predicts: bool,
}

/// The folder in the image that downloads are kept in.
const CACHE: &str = "/var/cache/cog-train";

/// The version of Rust that this crate needs.
const RUST_VERSION: &str = env!("CARGO_PKG_RUST_VERSION");

impl Recipe<'_> {
    /// Returns the Dockerfile.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        self.head(&mut text);
        self.build_stage(&mut text);
        self.last_stage(&mut text);
        text
    }

    fn head(&self, text: &mut String) {
        let Sources { binary, context, .. } = self.sources;
        let _ = writeln!(
            text,
            "# Written by `{binary} dockerfile`; build it in the folder of Cargo.toml:
#   docker build --platform linux/amd64 --tag {binary} --file Dockerfile {context}
# The OpenAPI document of the binary; the build fails when the binary has another one.
ARG OPENAPI_SCHEMA={}",
            folded(self.schema)
        );
    }

    fn build_stage(&self, text: &mut String) {
        let sources = self.sources;
        let rust = newest(RUST_VERSION, sources.rust_version.as_deref());
        let packages = &self.config.build().system_packages;
        if let Some(cuda) = self.cuda {
            let _ = write!(
                text,
                "
FROM rust:{rust}-bookworm AS rust

FROM nvidia/cuda:{cuda}-devel-ubuntu22.04 AS build
COPY --from=rust /usr/local/rustup /usr/local/rustup
COPY --from=rust /usr/local/cargo /usr/local/cargo
ENV RUSTUP_HOME=/usr/local/rustup CARGO_HOME=/usr/local/cargo PATH=/usr/local/cargo/bin:$PATH
# The code of the kernels: 80 is Ampere's, which every GPU since can run. The driver is not there when an image is built.
ARG CUDA_COMPUTE_CAP=80
"
            );
            let tools = ["build-essential", "ca-certificates", "pkg-config"].map(str::to_owned);
            install(text, &[&tools[..], packages].concat(), "");
            text.push_str(
                "RUN install -d /opt/driver && ln -s /usr/local/cuda/lib64/stubs/libcuda.so /opt/driver/libcuda.so.1\n",
            );
        } else {
            let _ = writeln!(text, "\nFROM rust:{rust}-trixie AS build");
            if !packages.is_empty() {
                install(text, packages, "");
            }
        }
        let build = self.cargo_build();
        let _ = writeln!(
            text,
            "ENV CARGO_TARGET_DIR=/target
WORKDIR {}
# The dependencies are a layer of their own, built with stubs in place of the sources: a change of the sources leaves it.",
            in_image(&sources.workspace)
        );
        for folder in &sources.dependencies {
            let _ = writeln!(text, "COPY {folder} {}", in_image(folder));
        }
        copy_into_folders(text, &sources.manifests);
        let roots: Vec<String> = sources.roots.iter().map(|path| in_image(path)).collect();
        let folders: BTreeSet<&str> = roots.iter().map(|path| folder_of(path)).collect();
        let release = format!("/target/release/{}{}", sources.built_in, sources.binary);
        let driver =
            if self.cuda.is_some() { "LD_LIBRARY_PATH=/opt/driver:$LD_LIBRARY_PATH " } else { "" };
        let _ = writeln!(
            text,
            "RUN mkdir -p {folders} \\
{stubs} && {build}
COPY {from} {to}
RUN touch {roots} \\
 && {build} \\
 && install -D {release} /out/bin/{binary} \\
 && ln -s {binary} /out/bin/python
ARG OPENAPI_SCHEMA
RUN install -d /out/src/.cog \\
 && {driver}/out/bin/{binary} schema --compact > /out/src/.cog/openapi_schema.json \\
 && if [ \"$OPENAPI_SCHEMA\" != \"$(cat /out/src/.cog/openapi_schema.json)\" ]; then \\
      echo 'the inputs have changed: write this file again by {binary} dockerfile' >&2; exit 1; fi",
            folders = folders.into_iter().collect::<Vec<_>>().join(" "),
            stubs = roots
                .iter()
                .map(|path| format!(" && echo 'fn main() {{}}' > {path} \\\n"))
                .collect::<Vec<_>>()
                .concat(),
            roots = roots.join(" "),
            from = if sources.workspace.is_empty() { "." } else { &sources.workspace },
            to = in_image(&sources.workspace),
            binary = sources.binary,
        );
    }

    fn last_stage(&self, text: &mut String) {
        let base = match self.cuda {
            Some(cuda) => format!("nvidia/cuda:{cuda}-runtime-ubuntu22.04"),
            None => "debian:trixie-slim".to_owned(),
        };
        let _ = writeln!(text, "\nFROM {base}");
        let tools = ["ca-certificates", "tini"].map(str::to_owned);
        // Any user may write there: `docker run --user` and Kubernetes' `runAsUser` choose one.
        let folders = format!(" \\\n && install -d -m 1777 /src {CACHE}");
        install(text, &[&tools[..], &self.config.build().system_packages].concat(), &folders);
        for command in &self.config.build().run {
            text.push_str(&run(command));
        }
        let _ = writeln!(text, "ENV XDG_CACHE_HOME={CACHE}");
        for (name, value) in self.config.environment() {
            let _ = writeln!(text, "ENV {name}={}", quoted(value));
        }
        let mode = if self.predicts { "" } else { ", \"--x-mode\", \"train\"" };
        let _ = writeln!(
            text,
            "COPY --from=build /out/bin/ /usr/local/bin/
COPY --from=build /out/src/ /src/
WORKDIR /src
EXPOSE 5000
ENTRYPOINT [\"/usr/bin/tini\", \"--\"]
CMD [\"python\", \"-m\", \"cog.server.http\"{mode}]
ARG OPENAPI_SCHEMA
LABEL run.cog.version={} \\
      run.cog.has_init=\"true\" \\
      run.cog.pip_freeze=\"\" \\
      run.cog.openapi_schema=\"$OPENAPI_SCHEMA\" \\
      run.cog.config={}",
            quoted(self.cog_version),
            folded(&self.label.to_string())
        );
    }

    fn cargo_build(&self) -> String {
        let mut command = format!("cargo build --release --locked {}", self.sources.choice);
        if !self.sources.features.is_empty() {
            let _ = write!(command, " --features {}", self.sources.features.join(","));
        }
        command
    }
}

/// Writes the installation of packages, and `then` in the same layer.
fn install(text: &mut String, packages: &[String], then: &str) {
    let _ = writeln!(
        text,
        "# hadolint ignore=DL3008
RUN apt-get update \\
 && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends {} \\
 && rm -rf /var/lib/apt/lists/*{then}",
        packages.join(" ")
    );
}

/// Returns a command of `build.run` as an instruction. In this form nothing of it is an option, a here-document or a variable
/// of the Dockerfile.
fn run(command: &Command) -> String {
    let mut text = "RUN ".to_owned();
    for mount in &command.mounts {
        let _ = write!(text, "--mount=type=secret,id={},target={} ", mount.id, mount.target);
    }
    let _ = writeln!(text, "{}", serde_json::json!(["/bin/sh", "-c", command.command.trim()]));
    text
}

/// Copies files to their places, those of one folder together.
fn copy_into_folders(text: &mut String, files: &[String]) {
    let folders: BTreeSet<&str> = files.iter().map(|path| folder_of(path)).collect();
    for folder in folders {
        let files: Vec<&str> =
            files.iter().filter(|path| folder_of(path) == folder).map(String::as_str).collect();
        let to = in_image(folder);
        let _ = writeln!(text, "COPY {} {}/", files.join(" "), to);
    }
}

/// Returns the place of a path of the context in the first stage.
fn in_image(path: &str) -> String {
    if path.is_empty() { "/build".to_owned() } else { format!("/build/{path}") }
}

/// Returns the folder of a file; empty for one in the context itself.
fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Returns the newer of two versions, as major and minor.
fn newest(own: &str, package: Option<&str>) -> String {
    let minor = |text: &str| {
        let mut numbers = text.split('.').map(|it| it.parse::<u32>().unwrap_or(0));
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
    };
    let (major, minor) = minor(own).max(package.map_or((0, 0), minor));
    format!("{major}.{minor}")
}
