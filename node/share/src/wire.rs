//! Messages between nodes as bytes.
//!
//! ```text
//! message      version u8 = 1 │ boot u64 │ number u64 │ count u16 │ sections… │ count u32 │ consumptions…
//! section      length u8 │ pool uid │ count u32 │ records…
//! record       client u128 │ member [u8; 16] │ stamp u64 │ node u64 │ idle ms u32 │ timeout ms u32
//! consumption  key u128 │ charge ns u64 │ tolerance ns u64
//! answer       version u8 = 1 │ boot u64 │ wants all u8
//! ```
//! Numbers are big-endian. A node that gets a version that it does not know refuses the message: nodes
//! of two versions then share nothing for as long as an update takes.
//!
//! Invariant: bytes from outside give a message or an error, and no more memory than they have bytes.

use ballast_balance::{ClientKey, MemberKey, TableRecord, Version};
use ballast_policy::limiter::Consumption;

/// The largest message, in bytes.
pub(crate) const MESSAGE_MAX_BYTES: usize = 1024 * 1024;
/// Most records in a message.
pub(crate) const RECORD_MAX_COUNT: usize = 8_192;
/// Most consumptions in a message.
pub(crate) const CONSUMPTION_MAX_COUNT: usize = 8_192;
/// Most sections in a message.
pub(crate) const SECTION_MAX_COUNT: usize = 1_024;

const VERSION: u8 = 1;
const RECORD_BYTES: usize = 56;
const CONSUMPTION_BYTES: usize = 32;
/// Stamps are ms since the Unix epoch: what is above is no clock, and would end the order of versions.
const STAMP_MAX: u64 = 1 << 62;

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// It is of a version that this node does not know.
    #[error("version {0} is not known here")]
    UnknownVersion(u8),
    /// It ends too early.
    #[error("it ends too early")]
    Short,
    /// There are bytes behind it.
    #[error("there is more than a message")]
    Long,
    /// It says that there is more of something than may be.
    #[error("it has too many {0}")]
    TooMany(&'static str),
    /// A pool's uid is no text.
    #[error("the uid of a pool is no text")]
    NoText,
    /// A stamp is no time.
    #[error("a stamp is too high")]
    NoStamp,
}

/// What a node tells another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    /// Which process tells it.
    pub(crate) boot: u64,
    /// Counts the messages of that process to this node; one that is sent again has the same number.
    pub(crate) number: u64,
    pub(crate) sections: Vec<Section>,
    pub(crate) consumptions: Vec<Consumption>,
}

/// Of one pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) pool_uid: String,
    pub(crate) records: Vec<TableRecord>,
}

/// What a node says to a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Which process has it.
    pub(crate) boot: u64,
    /// It lacks something: it is to be sent everything.
    pub(crate) wants_all: bool,
}

impl Message {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend(self.boot.to_be_bytes());
        bytes.extend(self.number.to_be_bytes());
        // What is sent is kept within the limits: see `Outbox`.
        bytes.extend((self.sections.len() as u16).to_be_bytes());
        for section in &self.sections {
            bytes.push(section.pool_uid.len() as u8);
            bytes.extend(section.pool_uid.as_bytes());
            bytes.extend((section.records.len() as u32).to_be_bytes());
            for record in &section.records {
                bytes.extend(record.client.0.to_be_bytes());
                bytes.extend(record.member.to_bytes());
                bytes.extend(record.version.stamp.to_be_bytes());
                bytes.extend(record.version.node_id.to_be_bytes());
                bytes.extend(record.idle_ms.to_be_bytes());
                bytes.extend(record.timeout_ms.to_be_bytes());
            }
        }
        bytes.extend((self.consumptions.len() as u32).to_be_bytes());
        for consumption in &self.consumptions {
            bytes.extend(consumption.key.to_be_bytes());
            bytes.extend(consumption.charge_ns.to_be_bytes());
            bytes.extend(consumption.tolerance_ns.to_be_bytes());
        }
        bytes
    }

    /// # Errors
    /// What is wrong with the bytes.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::of(bytes)?;
        let mut message = Self { boot: reader.u64()?, number: reader.u64()?, ..Self::default() };
        let section_count = usize::from(u16::from_be_bytes(reader.take()?));
        if section_count > SECTION_MAX_COUNT {
            return Err(WireError::TooMany("sections"));
        }
        let mut record_count = 0;
        for _ in 0..section_count {
            let section = reader.section()?;
            record_count += section.records.len();
            if record_count > RECORD_MAX_COUNT {
                return Err(WireError::TooMany("records"));
            }
            message.sections.push(section);
        }
        let count = reader.count(CONSUMPTION_MAX_COUNT, CONSUMPTION_BYTES, "consumptions")?;
        message.consumptions.reserve(count);
        for _ in 0..count {
            message.consumptions.push(Consumption {
                key: u128::from_be_bytes(reader.take()?),
                charge_ns: reader.u64()?,
                tolerance_ns: reader.u64()?,
            });
        }
        reader.end()?;
        Ok(message)
    }

    /// How many records are in it.
    pub(crate) fn record_count(&self) -> usize {
        self.sections.iter().map(|section| section.records.len()).sum()
    }
}

impl Answer {
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend(self.boot.to_be_bytes());
        bytes.push(u8::from(self.wants_all));
        bytes
    }

    /// # Errors
    /// What is wrong with the bytes.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::of(bytes)?;
        let boot = reader.u64()?;
        let [flags] = reader.take()?;
        reader.end()?;
        Ok(Self { boot, wants_all: flags & 1 == 1 })
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// What stands behind the version.
    fn of(bytes: &'a [u8]) -> Result<Self, WireError> {
        match bytes.split_first() {
            Some((&VERSION, rest)) => Ok(Self(rest)),
            Some((version, _)) => Err(WireError::UnknownVersion(*version)),
            None => Err(WireError::Short),
        }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(WireError::Short)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u64(&mut self) -> Result<u64, WireError> {
        Ok(u64::from_be_bytes(self.take()?))
    }

    fn u32(&mut self) -> Result<u32, WireError> {
        Ok(u32::from_be_bytes(self.take()?))
    }

    /// A count of things of that size, which must be there.
    fn count(
        &mut self,
        max: usize,
        item_bytes: usize,
        what: &'static str,
    ) -> Result<usize, WireError> {
        let count = self.u32()? as usize;
        if count > max {
            return Err(WireError::TooMany(what));
        }
        if count * item_bytes > self.0.len() {
            return Err(WireError::Short);
        }
        Ok(count)
    }

    fn section(&mut self) -> Result<Section, WireError> {
        let [length] = self.take()?;
        let (uid, rest) = self.0.split_at_checked(length.into()).ok_or(WireError::Short)?;
        self.0 = rest;
        let pool_uid = std::str::from_utf8(uid).map_err(|_| WireError::NoText)?.to_owned();
        let count = self.count(RECORD_MAX_COUNT, RECORD_BYTES, "records")?;
        let records = (0..count).map(|_| self.record()).collect::<Result<_, _>>()?;
        Ok(Section { pool_uid, records })
    }

    fn record(&mut self) -> Result<TableRecord, WireError> {
        Ok(TableRecord {
            client: ClientKey(u128::from_be_bytes(self.take()?)),
            member: MemberKey::from_bytes(self.take()?),
            version: Version { stamp: self.stamp()?, node_id: self.u64()? },
            idle_ms: self.u32()?,
            timeout_ms: self.u32()?,
        })
    }

    fn stamp(&mut self) -> Result<u64, WireError> {
        let stamp = self.u64()?;
        if stamp > STAMP_MAX { Err(WireError::NoStamp) } else { Ok(stamp) }
    }

    fn end(&self) -> Result<(), WireError> {
        if self.0.is_empty() { Ok(()) } else { Err(WireError::Long) }
    }
}

#[cfg(test)]
mod tests;
