//! street
