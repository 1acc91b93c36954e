//! What a venue's symbol means: which market, and how much one unit of quantity is worth.
