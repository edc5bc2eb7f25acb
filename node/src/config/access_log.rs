//! The access log's keys of a node's file.

use ballast_telemetry::access_log::syslog::facility;
use ballast_telemetry::access_log::{LogFormat, Rotation, SyslogAddress, SyslogTarget};
use ballast_telemetry::{AccessLogOptions, AccessLogSink};

use super::LogSection;

/// The socket of the machine's own syslog daemon.
const LOCAL_SYSLOG: &str = "/dev/log";
/// Largest size at which a file is put aside, in MiB (1 TiB).
const MAX_MIB_MAX: u64 = 1_048_576;
/// Most files that are kept.
const KEPT_MAX_COUNT: u32 = 1_000;

/// No log.
pub(super) fn off() -> AccessLogOptions {
    AccessLogOptions { sink: AccessLogSink::Off, format: LogFormat::Json, rotation: None }
}

/// A log of JSON that goes to `setting`.
pub(crate) fn access_log_to(setting: &str) -> AccessLogOptions {
    let sink = sink(setting, 0, "").unwrap_or(AccessLogSink::Off);
    AccessLogOptions { sink, ..off() }
}

impl LogSection {
    /// How requests are logged on the node of that name.
    ///
    /// # Errors
    /// Each fault, with its key.
    pub(super) fn access_log(&self, name: &str) -> Result<AccessLogOptions, Vec<String>> {
        let mut faults = Vec::new();
        let number = facility(&self.access_log_facility).unwrap_or_else(|| {
            faults.push(format!(
                "log.access_log_facility: {:?} is none; known are kern to local7 (RFC 5424)",
                self.access_log_facility
            ));
            0
        });
        let sink = sink(&self.access_log, number, name).unwrap_or_else(|fault| {
            faults.push(format!("log.access_log: {fault}"));
            AccessLogSink::Off
        });
        let format = LogFormat::parse(&self.access_log_format).unwrap_or_else(|error| {
            faults.push(format!("log.access_log_format: {error}"));
            LogFormat::Json
        });
        if self.access_log_max_mib > MAX_MIB_MAX {
            faults.push(format!("log.access_log_max_mib: at most {MAX_MIB_MAX}"));
        }
        if self.access_log_kept_count > KEPT_MAX_COUNT {
            faults.push(format!("log.access_log_kept_count: at most {KEPT_MAX_COUNT}"));
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let rotation = (self.access_log_max_mib > 0).then_some(Rotation {
            max_bytes: self.access_log_max_mib * 1024 * 1024,
            kept_count: self.access_log_kept_count,
        });
        Ok(AccessLogOptions { sink, format, rotation })
    }
}

fn sink(setting: &str, facility: u8, name: &str) -> Result<AccessLogSink, String> {
    let target = |address| {
        AccessLogSink::Syslog(SyslogTarget { address, facility, hostname: name.to_owned() })
    };
    Ok(match setting {
        "" => AccessLogSink::Off,
        "-" | "stderr" => AccessLogSink::Stderr,
        "stdout" => AccessLogSink::Stdout,
        "syslog" => target(SyslogAddress::Local(LOCAL_SYSLOG.into())),
        _ => match setting.strip_prefix("syslog:") {
            Some(path) if path.starts_with('/') => target(SyslogAddress::Local(path.into())),
            Some(address) => match address.parse() {
                Ok(address) => target(SyslogAddress::Udp(address)),
                Err(_) => {
                    return Err(format!(
                        "{address:?} is neither a path from / nor an IP address and port"
                    ));
                }
            },
            None => AccessLogSink::File(setting.into()),
        },
    })
}
