//! The tables of the gateway, step by step. A step is never edited after its release.
