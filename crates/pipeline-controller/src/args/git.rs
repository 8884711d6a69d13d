//! How repositories are read, written and kept.

use std::path::PathBuf;
use std::time::Duration;

use promote_pr::git::{Author, CacheLimits, Limits};
use promote_pr::{MessageTemplate, Options};

use super::duration;

/// How repositories are read, written and kept.
#[derive(clap::Args, Clone, Debug)]
pub struct GitArgs {
    /// Folder for the caches of git repositories; its content may be deleted at any time
    #[arg(long, env = "PIPELINE_CONTROLLER_CACHE_DIR", default_value = "/tmp/pipeline-controller", value_name = "DIR")]
    pub cache_dir: PathBuf,

    /// Largest size of all cached repositories together, in bytes; beyond it, those used longest ago go
    #[arg(long, env = "PIPELINE_CONTROLLER_CACHE_MAX_BYTES", default_value_t = CacheLimits::default().bytes, value_name = "BYTES")]
    pub cache_max_bytes: u64,

    /// Largest number of cached repositories; one that is read with two credentials counts twice
    #[arg(long, env = "PIPELINE_CONTROLLER_CACHE_MAX_REPOSITORIES", default_value_t = CacheLimits::default().repositories, value_name = "N")]
    pub cache_max_repositories: usize,

    /// Time after which a cached repository that is not used goes
    #[arg(long, env = "PIPELINE_CONTROLLER_CACHE_MAX_IDLE", default_value = "168h", value_parser = duration, value_name = "DURATION")]
    pub cache_max_idle: Duration,

    /// Author of the commits, as in `Name <address>`
    #[arg(long, env = "PIPELINE_CONTROLLER_GIT_AUTHOR", value_name = "AUTHOR")]
    pub git_author: Option<Author>,

    /// Committer of the commits, if it is not the author
    #[arg(long, env = "PIPELINE_CONTROLLER_GIT_COMMITTER", value_name = "COMMITTER")]
    pub git_committer: Option<Author>,

    /// Message of the commits whose Pipeline has no `commitMessage`: a template, as docs/pull-requests.md tells; the trailer
    /// Promotion-Id is added to the trailers that it ends with
    #[arg(long, env = "PIPELINE_CONTROLLER_GIT_COMMIT_MESSAGE", value_name = "TEMPLATE")]
    pub git_commit_message: Option<MessageTemplate>,

    /// Time for one operation on a repository, with all its requests
    #[arg(long, env = "PIPELINE_CONTROLLER_GIT_TIMEOUT", default_value = "5m", value_parser = duration, value_name = "DURATION")]
    pub git_timeout: Duration,

    /// Longest list of refs that a server may send, in bytes
    #[arg(long, env = "PIPELINE_CONTROLLER_GIT_MAX_LISTING", default_value_t = Limits::default().listing, value_name = "BYTES")]
    pub git_max_listing: u64,

    /// Longest pack that a server may send, in bytes
    #[arg(long, env = "PIPELINE_CONTROLLER_GIT_MAX_PACK", default_value_t = Limits::default().pack, value_name = "BYTES")]
    pub git_max_pack: u64,

    /// Largest number of objects in a pack
    #[arg(long, env = "PIPELINE_CONTROLLER_GIT_MAX_OBJECTS", default_value_t = Limits::default().objects, value_name = "N")]
    pub git_max_objects: u64,

    /// Longest object in a pack, in bytes; a server that can leave out files beyond --edit-max-file-bytes sends none of them
    #[arg(long, env = "PIPELINE_CONTROLLER_GIT_MAX_OBJECT", default_value_t = Limits::default().object, value_name = "BYTES")]
    pub git_max_object: u64,

    /// Longest content of all files that one promotion looks at, in bytes
    #[arg(long, env = "PIPELINE_CONTROLLER_GIT_MAX_FOUND", default_value_t = Limits::default().found, value_name = "BYTES")]
    pub git_max_found: u64,

    /// Deepest nesting of folders in a repository
    #[arg(long, env = "PIPELINE_CONTROLLER_GIT_MAX_DEPTH", default_value_t = Limits::default().depth, value_name = "LEVELS")]
    pub git_max_depth: u64,

    /// Largest number of files and folders in a repository
    #[arg(long, env = "PIPELINE_CONTROLLER_GIT_MAX_ENTRIES", default_value_t = Limits::default().entries, value_name = "N")]
    pub git_max_entries: u64,
}

impl GitArgs {
    /// The flags in the terms of promote-pr.
    pub fn options(&self) -> Options {
        let defaults = Options::new(&self.cache_dir);
        Options {
            author: self.git_author.clone().unwrap_or(defaults.author),
            committer: self.git_committer.clone(),
            message: self.git_commit_message.clone(),
            git: Limits {
                deadline: self.git_timeout,
                listing: self.git_max_listing,
                pack: self.git_max_pack,
                objects: self.git_max_objects,
                object: self.git_max_object,
                file: defaults.git.file,
                found: self.git_max_found,
                depth: self.git_max_depth,
                entries: self.git_max_entries,
                cache: CacheLimits {
                    bytes: self.cache_max_bytes,
                    repositories: self.cache_max_repositories,
                    idle: self.cache_max_idle,
                },
            },
            ..defaults
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::Args;

    fn parse(args: &[&str]) -> Result<Options, String> {
        let args = Args::try_parse_from([&["pipeline-controller"], args].concat());
        args.map(|args| args.git.options()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_those_of_the_library() {
        let options = parse(&[]).unwrap();
        assert_eq!(options.git, Limits::default());
        assert_eq!(options.author, Options::new("").author);
    }

    #[test]
    fn commits_are_described_by_flags() {
        let message = "chore: {{ title }}\n\nSigned-off-by: Bot <bot@example.com>";
        let flags =
            ["--git-author", "Bot <bot@example.com>", "--git-commit-message", message, "--cache-max-idle", "1h"];
        let options = parse(&flags).unwrap();
        assert_eq!(options.author.name, "Bot");
        assert!(options.message.is_some());
        assert_eq!(options.git.cache.idle, Duration::from_secs(3600));
        assert!(parse(&["--git-author", "bot"]).unwrap_err().contains("Name <address>"));
        assert!(parse(&["--git-commit-message", "{{ comit }}"]).unwrap_err().contains("`comit` does not exist"));
    }
}
