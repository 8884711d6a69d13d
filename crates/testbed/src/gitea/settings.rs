//! Gitea's `app.ini`.

use std::path::Path;

use crate::{ca::Ca, tools::Tools};

/// Settings as in [Gitea's cheat sheet](https://docs.gitea.com/administration/config-cheat-sheet): one process, no
/// background jobs, nothing that leaves the machine.
pub(super) fn app_ini(tools: &Tools, ca: &Ca, folder: &Path, port: u16) -> String {
    let root = tools.gitea_static.as_deref().unwrap_or(folder).display();
    let (certificate, key) = (ca.server_certificate_path(), ca.server_key_path());
    format!(
        "\
APP_NAME = test bed
RUN_MODE = prod
[server]
PROTOCOL = https
HTTP_ADDR = 127.0.0.1
HTTP_PORT = {port}
DOMAIN = 127.0.0.1
ROOT_URL = https://127.0.0.1:{port}/
CERT_FILE = {certificate}
KEY_FILE = {key}
STATIC_ROOT_PATH = {root}
OFFLINE_MODE = true
DISABLE_SSH = true
LFS_START_SERVER = false
[database]
DB_TYPE = sqlite3
PATH = {folder}/gitea.db
[repository]
ROOT = {folder}/repositories
DEFAULT_BRANCH = main
[security]
INSTALL_LOCK = true
PASSWORD_HASH_ALGO = pbkdf2_v1
[service]
DISABLE_REGISTRATION = true
[session]
PROVIDER = memory
[queue]
TYPE = channel
[indexer]
ISSUE_INDEXER_TYPE = db
[webhook]
ALLOWED_HOST_LIST = loopback
SKIP_TLS_VERIFY = true
[cron]
ENABLED = false
[actions]
ENABLED = false
[packages]
ENABLED = false
[oauth2]
ENABLED = false
[log]
MODE = console
LEVEL = Info
",
        certificate = certificate.display(),
        key = key.display(),
        folder = folder.display(),
    )
}
