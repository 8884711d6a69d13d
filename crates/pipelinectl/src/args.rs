//! Command-line flags.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;
use egress::IpNet;
use pipeline_controller::decide::check_revision;
use promote_pr::edit::{Limits, Selector, Target, Update};

use crate::output::Format;

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 nothing matched.";

/// Promotes applications from one environment to the next, and edits the manifests that say what runs where. Needs no
/// cluster.
#[derive(Parser, Debug)]
#[command(name = "pipelinectl", version, max_term_width = 100, after_help = EXIT_CODES)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Write a value into manifests, and change nothing else
    ///
    /// Without files, standard input is edited to standard output: unchanged where markers are absent or refused, and
    /// not at all after another error. With files and folders, a unified difference is printed.
    Edit(EditArgs),
    /// Find what is wrong with the markers of a checkout and the updates of Pipelines
    ///
    /// Each finding is a line that editors understand: file, line, column, severity, what to do, and the code. If there
    /// are any, the exit code is 1.
    Lint(LintArgs),
    /// Show the difference that a promotion by pull request would push
    ///
    /// Nothing is written, neither to the repository nor to the checkout.
    Plan(PlanArgs),
    /// Promote once, for real: open the pull request or deliver the webhook
    ///
    /// Does what the controller does, once. Called again, it finds what it did before, and says how the pull request
    /// stands. Whoever calls it has decided: it waits for no approval and looks at no target.
    Promote(PromoteArgs),
    /// Print the custom resource definition of Pipelines
    Crd {
        /// Print in this form; YAML without it
        #[arg(short, long, value_enum, value_name = "FORM")]
        output: Option<Format>,
    },
    /// Print the completion script of a shell
    Completion {
        #[arg(value_enum)]
        shell: Shell,
    },
}

/// What to edit, and where.
#[derive(clap::Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct EditArgs {
    /// Edit the values that carry the comment # {"$promotion": "NAMESPACE:PIPELINE:ENVIRONMENT"}
    #[arg(
        long,
        value_name = "NAMESPACE:PIPELINE:ENVIRONMENT",
        required_unless_present = "path",
        conflicts_with = "path"
    )]
    pub(crate) marker: Option<String>,

    /// Edit the value at this path, such as spec.chart.spec.version, images[name=app].newTag or /spec/tag
    #[arg(long, value_name = "EXPRESSION")]
    path: Option<String>,

    /// Only in documents of this kind
    #[arg(long, requires = "path", conflicts_with = "marker")]
    kind: Option<String>,

    /// Only in documents whose metadata.name is this
    #[arg(long, requires = "path", conflicts_with = "marker")]
    name: Option<String>,

    /// Only in documents whose metadata.namespace is this
    #[arg(long, requires = "path", conflicts_with = "marker")]
    namespace: Option<String>,

    /// Only in documents of this apiVersion
    #[arg(long, requires = "path", conflicts_with = "marker", value_name = "VERSION")]
    api_version: Option<String>,

    /// Only in the document at this place of its file, from 0
    #[arg(long, requires = "path", conflicts_with = "marker", value_name = "INDEX")]
    document: Option<usize>,

    /// The value to write
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) value: String,

    /// Write the files instead of printing the difference; all of them or, after an error, none
    #[arg(long, requires = "files")]
    pub(crate) write: bool,

    /// Print the changes and notes as data
    #[arg(short, long, value_enum, value_name = "FORM")]
    pub(crate) output: Option<Format>,

    #[command(flatten)]
    pub(crate) limits: LimitArgs,

    /// Files, and folders with all their files but links and what is below .git
    #[arg(value_name = "FILE|FOLDER", value_hint = ValueHint::AnyPath)]
    pub(crate) files: Vec<PathBuf>,
}

/// Bounds of an edit; what goes beyond one is left alone and has its note.
#[derive(clap::Args, Clone, Copy, Debug)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitArgs {
    /// Largest file that is parsed, in bytes
    #[arg(long, default_value_t = Limits::default().file_bytes, value_name = "BYTES")]
    max_file_bytes: usize,

    /// Deepest nesting of collections
    #[arg(long, default_value_t = Limits::default().depth, value_name = "LEVELS")]
    max_depth: usize,

    /// Files that are parsed; those without a marker do not count
    #[arg(long, default_value_t = Limits::default().files, value_name = "N")]
    max_files: usize,

    /// Values that are changed
    #[arg(long, default_value_t = Limits::default().edits, value_name = "N")]
    max_edits: usize,
}

impl LimitArgs {
    pub(crate) fn limits(self) -> Limits {
        Limits { file_bytes: self.max_file_bytes, depth: self.max_depth, files: self.max_files, edits: self.max_edits }
    }
}

impl EditArgs {
    pub(crate) fn update(&self) -> Update {
        let target = match (&self.marker, &self.path) {
            (Some(marker), _) => Target::Marker(marker.clone()),
            (None, path) => Target::Path(Selector {
                path: path.clone().unwrap_or_default(),
                kind: self.kind.clone(),
                name: self.name.clone(),
                namespace: self.namespace.clone(),
                api_version: self.api_version.clone(),
                document: self.document,
            }),
        };
        Update::new(target, &*self.value)
    }
}

/// Which promotion to show, and how.
#[derive(clap::Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct LintArgs {
    /// Manifest of a Pipeline, whose updates and the markers for which are checked too; may be given more than once
    #[arg(short = 'f', long = "file", value_name = "PIPELINE", value_hint = ValueHint::FilePath)]
    pub(crate) pipelines: Vec<PathBuf>,

    /// Namespace of Pipelines whose manifests name none; without it, default
    #[arg(short, long)]
    pub(crate) namespace: Option<String>,

    /// Print the findings as data
    #[arg(short, long, value_enum, value_name = "FORM")]
    pub(crate) output: Option<LintFormat>,

    #[command(flatten)]
    pub(crate) limits: LimitArgs,

    /// The checkout
    #[arg(value_name = "FOLDER", default_value = ".", value_hint = ValueHint::DirPath)]
    pub(crate) folder: PathBuf,
}

/// A form of findings for other programs.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LintFormat {
    Json,
    Yaml,
    /// SARIF 2.1.0, for code scanning
    Sarif,
}

#[derive(clap::Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) promotion: PromotionArgs,

    /// A checkout of the base branch to look at, instead of the repository itself
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath, conflicts_with = "secret")]
    pub(crate) dir: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) network: NetworkArgs,

    /// Print the changes and notes as data
    #[arg(short, long, value_enum, value_name = "FORM")]
    pub(crate) output: Option<Format>,
}

/// Which promotion to carry out, and how.
#[derive(clap::Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct PromoteArgs {
    #[command(flatten)]
    pub(crate) promotion: PromotionArgs,

    /// Grows by one each time that the same revision is promoted to the same environment anew
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..), value_name = "N")]
    pub(crate) sequence: u32,

    #[command(flatten)]
    pub(crate) network: NetworkArgs,

    /// Print the result as data
    #[arg(short, long, value_enum, value_name = "FORM")]
    pub(crate) output: Option<Format>,
}

/// Which promotion.
#[derive(clap::Args, Debug)]
pub(crate) struct PromotionArgs {
    /// Manifest of the Pipeline, with its Secret behind it if you like; - is standard input
    #[arg(short, long, value_name = "PIPELINE", value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,

    /// Manifest of the Secret that the Pipeline names, if it does not stand in PIPELINE; - is standard input
    #[arg(long, value_name = "SECRET", value_hint = ValueHint::FilePath)]
    pub(crate) secret: Option<PathBuf>,

    /// Namespace of the Pipeline, if its manifest names none; without it, default
    #[arg(short, long)]
    pub(crate) namespace: Option<String>,

    /// The environment to promote to
    #[arg(short, long)]
    pub(crate) environment: String,

    /// The revision to promote, as the environment before it reports it, such as 6.3.0 or main@sha1:1a2b3c
    #[arg(short, long, value_parser = revision)]
    pub(crate) revision: String,
}

/// How repositories, hosts and receivers are reached.
#[derive(clap::Args, Debug)]
pub(crate) struct NetworkArgs {
    /// Folder that keeps the caches of git repositories; without it, nothing is kept
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    pub(crate) cache_dir: Option<PathBuf>,

    /// PEM bundle of certificate authorities that are trusted in addition to the system's
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) ca_file: Option<PathBuf>,

    /// Allow repositories and webhooks over plain http
    #[arg(long)]
    pub(crate) insecure_allow_http: bool,

    /// Addresses that are called although they are refused by themselves (loopback, link-local, cloud metadata) or by --egress-deny, for example 127.0.0.0/8; may be given more than once
    #[arg(long, value_delimiter = ',', value_name = "CIDR")]
    pub(crate) egress_allow: Vec<IpNet>,

    /// Further addresses that are not called; may be given more than once
    #[arg(long, value_delimiter = ',', value_name = "CIDR")]
    pub(crate) egress_deny: Vec<IpNet>,
}

fn revision(text: &str) -> Result<String, String> {
    check_revision(text).map(|()| text.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn flags_are_consistent() {
        Args::command().debug_assert();
    }
}
