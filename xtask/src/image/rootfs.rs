//! The files of the image. The Dockerfile makes the same ones.

use std::io::Write as _;

use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

/// The account that the image runs as: nobody's, by the number that distroless images use.
pub(super) const USER: &str = "65532:65532";

pub(super) struct File<'a> {
    path: &'a str,
    mode: u32,
    /// `None` for a folder.
    content: Option<&'a [u8]>,
}

/// What is in the image, folders before what is in them.
pub(super) fn files<'a>(binary: &'a [u8], certificates: &'a [u8], license: &'a [u8]) -> Vec<File<'a>> {
    let folder = |path, mode| File { path, mode, content: None };
    let file = |path, mode, content| File { path, mode, content: Some(content) };
    vec![
        folder("etc/", 0o755),
        file("etc/group", 0o644, b"nonroot:x:65532:\n".as_slice()),
        file("etc/passwd", 0o644, b"nonroot:x:65532:65532:nonroot:/tmp:/sbin/nologin\n"),
        folder("etc/ssl/", 0o755),
        folder("etc/ssl/certs/", 0o755),
        file("etc/ssl/certs/ca-certificates.crt", 0o644, certificates),
        folder("licenses/", 0o755),
        file("licenses/LICENSE", 0o644, license),
        file("pipeline-controller", 0o755, binary),
        // The flags' default for caches; in a Pod a volume is mounted instead.
        folder("tmp/", 0o1777),
    ]
}

pub(super) struct Layer {
    pub(super) tar: Vec<u8>,
    pub(super) gzip: Vec<u8>,
}

/// The same bytes for the same files: no times, no owners but root.
pub(super) fn layer(files: &[File<'_>]) -> std::io::Result<Layer> {
    let mut builder = Builder::new(Vec::new());
    for file in files {
        let mut header = Header::new_ustar();
        let content = file.content.unwrap_or_default();
        header.set_entry_type(if file.content.is_some() { EntryType::Regular } else { EntryType::Directory });
        header.set_mode(file.mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(u64::try_from(content.len()).unwrap_or(u64::MAX));
        builder.append_data(&mut header, file.path, content)?;
    }
    let tar = builder.into_inner()?;
    // Without name and time in its head.
    let mut encoder = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    encoder.write_all(&tar)?;
    Ok(Layer { gzip: encoder.finish()?, tar })
}
