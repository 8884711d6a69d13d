//! The real servers' programs: found on this machine, or built once from Go modules.

use std::{
    ffi::OsStr,
    fs::{self, File, TryLockError},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::process::Process;

/// How long one `go build` may take; about five minutes on two cores with nothing in Go's own cache.
const BUILD_TIMEOUT: Duration = Duration::from_secs(45 * 60);

/// The programs that a bed starts.
#[derive(Clone, Debug)]
pub struct Tools {
    /// The API server.
    pub kube_apiserver: PathBuf,
    /// The API server's store.
    pub etcd: PathBuf,
    /// The command line client.
    pub kubectl: PathBuf,
    /// The git host.
    pub gitea: PathBuf,
    /// Gitea's templates and locales; none for a Gitea that carries them inside, as its releases do.
    pub gitea_static: Option<PathBuf>,
}

impl Tools {
    /// Finds each program: kube-apiserver, etcd and kubectl in the folder that `KUBEBUILDER_ASSETS` names, any of them
    /// on `PATH`, else in the [`cache_folder`], where they are built when they are not there yet.
    ///
    /// # Errors
    /// When a build is needed and Go is absent, too old or fails.
    pub async fn find() -> Result<Self> {
        let kubernetes = match [installed("kube-apiserver"), installed("etcd"), installed("kubectl")] {
            [Some(kube_apiserver), Some(etcd), Some(kubectl)] => [kube_apiserver, etcd, kubectl],
            found => {
                let built = KUBERNETES.folder().await?;
                let [kube_apiserver, etcd, kubectl] = found;
                let or_built = |found: Option<PathBuf>, name| found.unwrap_or_else(|| built.join(name));
                [or_built(kube_apiserver, "kube-apiserver"), or_built(etcd, "etcd"), or_built(kubectl, "kubectl")]
            }
        };
        let (gitea, gitea_static) = match installed("gitea") {
            Some(gitea) => (gitea, None),
            None => {
                let built = GITEA.folder().await?;
                (built.join("gitea"), Some(built.join("static")))
            }
        };
        let [kube_apiserver, etcd, kubectl] = kubernetes;
        Ok(Self { kube_apiserver, etcd, kubectl, gitea, gitea_static })
    }
}

/// The version of Kubernetes that is built.
pub(crate) fn kubernetes_version() -> Result<&'static str> {
    version_in(KUBERNETES.go_mod, "k8s.io/kubernetes")
}

/// Helm, on `PATH` or built.
pub(crate) async fn helm() -> Result<PathBuf> {
    match installed("helm") {
        Some(helm) => Ok(helm),
        None => Ok(HELM.folder().await?.join("helm")),
    }
}

/// `$XDG_CACHE_HOME/pipeline-controller`, else `~/.cache/pipeline-controller`.
pub fn cache_folder() -> Result<PathBuf> {
    let base = variable("XDG_CACHE_HOME")
        .filter(|path| path.is_absolute())
        .or_else(|| Some(variable("HOME")?.join(".cache")))
        .context("neither XDG_CACHE_HOME nor HOME is set: no folder to keep the built test servers in")?;
    Ok(base.join("pipeline-controller"))
}

fn variable(name: &str) -> Option<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "these variables are how users point tools at programs and folders")]
    let value = std::env::var_os(name);
    value.filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// OpenSSH's server, which Debian keeps off the `PATH` of users.
///
/// # Errors
/// It is not installed.
pub fn sshd() -> Result<PathBuf> {
    let usual = PathBuf::from("/usr/sbin/sshd");
    installed("sshd").or_else(|| is_executable(&usual).then_some(usual)).context(
        "there is no `sshd` on PATH and no /usr/sbin/sshd: install OpenSSH's server, with `apt-get install -y \
         openssh-server` on Debian",
    )
}

pub(crate) fn installed(name: &str) -> Option<PathBuf> {
    let assets = variable("KUBEBUILDER_ASSETS");
    let path = variable("PATH").unwrap_or_default();
    let mut candidates = assets.into_iter().chain(std::env::split_paths(&path)).map(|folder| folder.join(name));
    candidates.find(|candidate| is_executable(candidate))
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// A Go module under `tools/` that pins programs.
struct Module {
    name: &'static str,
    go_mod: &'static str,
    go_sum: &'static str,
    builds: &'static [Build],
    /// A dependency whose folders are copied beside the programs into `static/`.
    assets: Option<(&'static str, &'static [&'static str])>,
}

/// One `go build`.
#[derive(Hash)]
struct Build {
    /// The file to write; a folder, named by its last slash, takes each package's own name.
    output: &'static str,
    packages: &'static [&'static str],
    cgo: bool,
    tags: &'static str,
    /// The dependency whose version the programs are told as their own, as Kubernetes' release build does.
    version_of: Option<&'static str>,
}

const KUBERNETES: Module = Module {
    name: "kubernetes",
    go_mod: include_str!("../tools/kubernetes/go.mod"),
    go_sum: include_str!("../tools/kubernetes/go.sum"),
    builds: &[
        Build {
            output: "bin/",
            packages: &["k8s.io/kubernetes/cmd/kube-apiserver", "k8s.io/kubernetes/cmd/kubectl"],
            cgo: false,
            tags: "",
            version_of: Some("k8s.io/kubernetes"),
        },
        Build { output: "bin/etcd", packages: &["go.etcd.io/etcd/server/v3"], cgo: false, tags: "", version_of: None },
    ],
    assets: None,
};

const GITEA: Module = Module {
    name: "gitea",
    go_mod: include_str!("../tools/gitea/go.mod"),
    go_sum: include_str!("../tools/gitea/go.sum"),
    builds: &[Build {
        output: "bin/",
        packages: &["code.gitea.io/gitea"],
        cgo: true,
        tags: "sqlite sqlite_unlock_notify timetzdata",
        version_of: None,
    }],
    assets: Some(("code.gitea.io/gitea", &["options", "public", "templates"])),
};

const HELM: Module = Module {
    name: "helm",
    go_mod: include_str!("../tools/helm/go.mod"),
    go_sum: include_str!("../tools/helm/go.sum"),
    builds: &[Build {
        output: "bin/",
        packages: &["helm.sh/helm/v3/cmd/helm"],
        cgo: false,
        tags: "",
        version_of: None,
    }],
    assets: None,
};

impl Module {
    /// The folder with this module's programs, built when they are not there.
    async fn folder(&self) -> Result<PathBuf> {
        let root = cache_folder()?.join("tools");
        let folder = root.join(format!("{}-{:016x}", self.name, self.key()));
        if !folder.exists() {
            fs::create_dir_all(&root).with_context(|| format!("creating {}", root.display()))?;
            let _lock = lock(&root.join(format!("{}.lock", self.name))).await?;
            // Another process may have built it while this one waited.
            if !folder.exists() {
                self.build(&root, &folder)
                    .await
                    .with_context(|| format!("building the test bed's {} programs", self.name))?;
            }
        }
        Ok(folder)
    }

    fn key(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.go_mod, self.go_sum, self.builds, self.assets).hash(&mut hasher);
        (std::env::consts::OS, std::env::consts::ARCH).hash(&mut hasher);
        hasher.finish()
    }

    async fn build(&self, root: &Path, folder: &Path) -> Result<()> {
        let prefix = format!(".{}-", self.name);
        for left_over in fs::read_dir(root)?.filter_map(Result::ok) {
            if left_over.file_name().to_string_lossy().starts_with(&prefix) {
                fs::remove_dir_all(left_over.path())?;
            }
        }
        let work = tempfile::Builder::new().prefix(&prefix).tempdir_in(root)?;
        fs::write(work.path().join("go.mod"), self.go_mod)?;
        fs::write(work.path().join("go.sum"), self.go_sum)?;
        self.check_go(work.path()).await?;

        let packages: Vec<_> = self.builds.iter().flat_map(|build| build.packages).copied().collect();
        say(&format!(
            "test bed: building {} into {}, this once; it takes about five minutes on two cores …",
            packages.join(", "),
            folder.display()
        ));
        let start = Instant::now();
        for build in self.builds {
            go(work.path(), build.arguments(self.go_mod)?, build.cgo).await?;
        }
        let bin = work.path().join("bin");
        if let Some((dependency, assets)) = self.assets {
            let source = go(work.path(), ["list", "-m", "-f", "{{.Dir}}", dependency].map(String::from), false).await?;
            for asset in assets {
                copy_tree(&Path::new(&source).join(asset), &bin.join("static").join(asset))?;
            }
        }
        fs::rename(&bin, folder).with_context(|| format!("moving the programs to {}", folder.display()))?;
        say(&format!("test bed: built {} in {} s", packages.join(", "), start.elapsed().as_secs()));
        Ok(())
    }

    /// Checks Go before a build that would fail half-way, as Go before 1.21 does not look at what `go.mod` asks for.
    async fn check_go(&self, work: &Path) -> Result<()> {
        let wanted = self.go_mod.lines().find_map(|line| line.strip_prefix("go ")).unwrap_or_default();
        let install = format!(
            "Go {wanted} or newer and a C compiler are needed to build the test bed's servers: install Go and put its \
             `go` on PATH, or point KUBEBUILDER_ASSETS and PATH at installed programs"
        );
        if installed("go").is_none() {
            bail!("there is no `go` on PATH. {install}");
        }
        // Newer ones switch to the wanted version by themselves, or fail here and say why.
        let version = go(work, ["env", "GOVERSION"].map(String::from), false).await.context(install.clone())?;
        if go_version(version.trim_start_matches("go")) < go_version(wanted) {
            bail!("`go` on PATH is {version}. {install}");
        }
        Ok(())
    }
}

impl Build {
    fn arguments(&self, go_mod: &str) -> Result<Vec<String>> {
        let mut ldflags = String::from("-s -w");
        if let Some(dependency) = self.version_of {
            let version = version_in(go_mod, dependency)?;
            let mut numbers = version.trim_start_matches('v').split('.');
            for (key, value) in
                [("gitVersion", Some(version)), ("gitMajor", numbers.next()), ("gitMinor", numbers.next())]
            {
                let value = value.unwrap_or_default();
                ldflags += &format!(" -X k8s.io/component-base/version.{key}={value}");
            }
        }
        let mut arguments = ["build", "-mod=readonly", "-trimpath", "-ldflags", &ldflags].map(String::from).to_vec();
        if !self.tags.is_empty() {
            arguments.extend(["-tags", self.tags].map(String::from));
        }
        arguments.extend(["-o", self.output].map(String::from));
        arguments.extend(self.packages.iter().copied().map(String::from));
        Ok(arguments)
    }
}

/// The version that a `require` or `replace`-free line of `go.mod` gives `dependency`.
fn version_in<'a>(go_mod: &'a str, dependency: &str) -> Result<&'a str> {
    go_mod
        .lines()
        .find_map(|line| {
            let mut words = line.trim().trim_start_matches("require ").split_whitespace();
            (words.next() == Some(dependency)).then(|| words.next()).flatten()
        })
        .with_context(|| format!("go.mod requires no {dependency}"))
}

fn go_version(text: &str) -> Vec<u32> {
    text.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse().ok()).collect()
}

/// Runs `go` and answers the last line that it printed: the ones before tell of downloads.
async fn go(folder: &Path, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>, cgo: bool) -> Result<String> {
    let mut command = Command::new("go");
    command.args(arguments).current_dir(folder).env("CGO_ENABLED", if cgo { "1" } else { "0" }).env("GOWORK", "off");
    let log = folder.join("log");
    // Each run has the log to itself.
    fs::write(&log, "")?;
    let mut process = Process::start(&command, &log)?;
    match process.wait(BUILD_TIMEOUT).await? {
        0 => Ok(process.log()?.lines().last().unwrap_or_default().to_owned()),
        _ => bail!(
            "`go {}` failed:\n{}",
            command.get_args().collect::<Vec<_>>().join(OsStr::new(" ")).display(),
            process.log_tail()
        ),
    }
}

/// Waits for the lock on `path`, which ends with the file that is answered, or with this process.
pub(crate) async fn lock(path: &Path) -> Result<File> {
    let file = File::options().create(true).append(true).open(path)?;
    let mut told = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {
                if !std::mem::replace(&mut told, true) {
                    say(&format!("test bed: waiting for another process that holds {} …", path.display()));
                }
                // Not the blocking call: a runtime could not be shut down before that returns.
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("locking {}", path.display()));
            }
        }
    }
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("reading {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

/// Tells the user past the test harness, which would keep `eprintln!` to itself for the minutes that a build takes.
pub(crate) fn say(line: &str) {
    // Nobody can be told when standard error is closed.
    let _told = writeln!(std::io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubernetes_is_told_the_version_that_its_module_pins() {
        let arguments = KUBERNETES.builds[0].arguments("require k8s.io/kubernetes v1.36.3 // indirect\n").unwrap();
        let ldflags = arguments.iter().find(|argument| argument.starts_with("-s -w")).unwrap();
        assert_eq!(
            ldflags,
            "-s -w -X k8s.io/component-base/version.gitVersion=v1.36.3 \
             -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36"
        );
        version_in(KUBERNETES.go_mod, "k8s.io/kubernetes").unwrap();
    }

    #[test]
    fn go_versions_compare_by_number() {
        assert!(go_version("1.9.7") < go_version("1.26.2"));
        assert!(go_version("1.26.10") > go_version("1.26.2"));
        assert!(go_version("1.27rc1") > go_version("1.26.2"));
        assert!(go_version("1.26.0") < go_version("1.26.2"));
    }

    #[tokio::test]
    async fn a_failing_go_shows_what_it_said() {
        if installed("go").is_none() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let error = go(folder.path(), ["build", "./absent"], false).await.unwrap_err().to_string();
        assert!(error.starts_with("`go build ./absent` failed:\n"), "{error}");
    }
}
