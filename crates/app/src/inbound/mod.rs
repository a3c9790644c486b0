//! What other products report in their own formats. The secret URL is the credential, so that there is no principal.

pub mod alertmanager;
