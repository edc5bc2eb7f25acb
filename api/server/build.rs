//! Puts the console's files into the program, compressed in advance.
//!
//! They are looked for in `BALLAST_ADMIN_UI_DIST`, or in `target/admin-ui/dist` of the workspace.
//! Without them the program is built all the same, and says that it has no console.

use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// How hard brotli tries, 0 to 11.
const BROTLI_QUALITY: u32 = 10;
/// brotli's window, as a power of two.
const BROTLI_WINDOW: u32 = 22;

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-env-changed=BALLAST_ADMIN_UI_DIST");
    println!("cargo::rerun-if-changed=build.rs");
    let dist = dist_folder();
    // A folder that is not there would make every build run this again; an empty one does not.
    if fs::create_dir_all(&dist).is_ok() {
        println!("cargo::rerun-if-changed={}", dist.display());
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let mut files = Vec::new();
    if dist.join("index.html").is_file() {
        list(&dist, &mut files)?;
    }
    files.sort();
    let mut code = String::from("const ASSETS: &[Asset] = &[\n");
    let mut entries = Vec::new();
    for (number, file) in files.iter().enumerate() {
        let name = file.strip_prefix(&dist).unwrap_or(file).to_string_lossy().replace('\\', "/");
        entries.push((name.clone(), entry(file, &name, &out, number)?));
    }
    entries.sort();
    for (_, entry) in entries {
        code.push_str(&entry);
    }
    code.push_str("];\n");
    fs::write(out.join("console_assets.rs"), code)
}

fn dist_folder() -> PathBuf {
    if let Some(folder) = env::var_os("BALLAST_ADMIN_UI_DIST").filter(|folder| !folder.is_empty()) {
        return folder.into();
    }
    let crate_folder = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    crate_folder.join("../../target/admin-ui/dist")
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { list(&path, files)? } else { files.push(path) }
    }
    Ok(())
}

fn entry(file: &Path, name: &str, out: &Path, number: usize) -> io::Result<String> {
    let content = fs::read(file)?;
    let gzip = smaller(gzip(&content)?, &content);
    let brotli = smaller(brotli(&content)?, &content);
    for (extension, bytes) in [("plain", &content), ("gz", &gzip), ("br", &brotli)] {
        fs::write(out.join(format!("asset-{number}.{extension}")), bytes)?;
    }
    let mut hash = DefaultHasher::new();
    content.hash(&mut hash);
    let mut code = String::new();
    let bytes = |extension: &str| {
        format!("include_bytes!(concat!(env!(\"OUT_DIR\"), \"/asset-{number}.{extension}\"))")
    };
    // Writing to a String does not fail.
    let _written = write!(
        code,
        "    Asset {{\n        path: {name:?},\n        content_type: {:?},\n        \
         is_immutable: {},\n        etag: {:?},\n        plain: {},\n        gzip: {},\n        \
         brotli: {},\n    }},\n",
        content_type(name),
        is_hashed(name),
        format!("\"{:016x}\"", hash.finish()),
        bytes("plain"),
        bytes("gz"),
        bytes("br"),
    );
    Ok(code)
}

/// Whether a file's name ends with a hash of its content, as in `style-0123456789abcdef.css`.
fn is_hashed(name: &str) -> bool {
    let stem = name.rsplit('/').next().and_then(|file| file.split('.').next());
    let hash = stem.and_then(|stem| stem.rsplit_once('-')).map_or("", |(_, hash)| hash);
    hash.len() >= 8 && hash.bytes().all(|b| b.is_ascii_hexdigit())
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or("") {
        "css" => "text/css; charset=utf-8",
        "html" => "text/html; charset=utf-8",
        "ico" => "image/x-icon",
        "js" => "text/javascript; charset=utf-8",
        "json" | "webmanifest" => "application/json",
        "png" => "image/png",
        "svg" => "image/svg+xml",
        "txt" => "text/plain; charset=utf-8",
        "wasm" => "application/wasm",
        "woff2" => "font/woff2",
        _ => "application/octet-stream",
    }
}

/// The compressed form where it gains something, else nothing.
fn smaller(compressed: Vec<u8>, plain: &[u8]) -> Vec<u8> {
    if compressed.len() < plain.len() { compressed } else { Vec::new() }
}

fn gzip(content: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(content)?;
    encoder.finish()
}

fn brotli(content: &[u8]) -> io::Result<Vec<u8>> {
    let mut compressed = Vec::new();
    let mut encoder =
        brotli::CompressorWriter::new(&mut compressed, 4_096, BROTLI_QUALITY, BROTLI_WINDOW);
    encoder.write_all(content)?;
    encoder.flush()?;
    drop(encoder);
    Ok(compressed)
}
