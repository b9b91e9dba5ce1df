//! matrix-whatsapp
