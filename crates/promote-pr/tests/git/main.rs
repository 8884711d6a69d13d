//! The git module against the real `git http-backend` over TLS, with what goes wrong on the way.

#[cfg(test)]
mod bed;

#[cfg(test)]
mod cache;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod fetch;
#[cfg(test)]
mod push;
