//! The console's own set of components.
//!
//! A state is never told by colour alone: each has a shape and a word too.

mod badge;
mod button;
mod chart;
mod dialog;
mod field;
mod icon;
mod state;
mod toast;

pub(crate) use badge::{Badge, ConditionBadge, HealthBadge, Tone};
pub(crate) use button::{Button, Look};
pub(crate) use chart::{HealthBar, Sparkline};
pub(crate) use dialog::Dialog;
pub(crate) use field::{SelectField, TextField, focus_first_fault};
pub(crate) use icon::{Icon, Symbol};
pub(crate) use state::{Empty, Failure, Foreign, Loading, Table};
pub(crate) use toast::{Toaster, Toasts};
