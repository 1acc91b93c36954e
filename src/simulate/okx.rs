//! okx
