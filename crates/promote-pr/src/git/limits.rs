//! What a repository, its server and the cache may cost.

use std::time::Duration;

/// What a repository and its server may cost. What exceeds one of these ends in an [`Error`](super::Error) that names
/// the field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The time for one operation as a whole, with all its requests and the wait for others.
    pub deadline: Duration,
    /// The longest answer that is not a pack, in bytes: the refs of a large repository.
    pub listing: u64,
    /// The longest pack that is fetched, in bytes as transferred.
    pub pack: u64,
    /// The largest number of objects in a pack.
    pub objects: u64,
    /// The longest object that a pack may hold, in bytes. Objects are held in memory while a pack is indexed.
    pub object: u64,
    /// The longest file that is read, in bytes. A server that can leave out longer ones is asked to.
    pub file: u64,
    /// The longest content of all files that are found together, in bytes.
    pub found: u64,
    /// The deepest nesting of directories.
    pub depth: u64,
    /// The largest number of files and directories of a commit.
    pub entries: u64,
    /// What may be kept on disk.
    pub cache: CacheLimits,
}

impl Default for Limits {
    /// 5 minutes, listings of 32 MiB, packs of 1 GiB and 4 million objects, objects of 256 MiB, files of 4 MiB, 64 MiB of
    /// found files, 64 levels, 1 million entries.
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(300),
            listing: 32 << 20,
            pack: 1 << 30,
            objects: 4_000_000,
            object: 256 << 20,
            file: 4 << 20,
            found: 64 << 20,
            depth: 64,
            entries: 1_000_000,
            cache: CacheLimits::default(),
        }
    }
}

/// What the cache may keep. Beyond that, repositories that nobody uses are removed, those used longest ago first; the one
/// that was used last stays in any case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheLimits {
    /// The size of all repositories together, in bytes.
    pub bytes: u64,
    /// The number of repositories. One that is read with two credentials counts twice.
    pub repositories: usize,
    /// The time after which a repository that is not used any more goes. With that, what was fetched with credentials that
    /// have been replaced does not stay.
    pub idle: Duration,
}

impl Default for CacheLimits {
    /// 4 GiB, 256 repositories, 7 days.
    fn default() -> Self {
        Self { bytes: 4 << 30, repositories: 256, idle: Duration::from_secs(7 * 24 * 3600) }
    }
}
