//! Git over SSH against the real `sshd`, with what goes wrong on the way.

#[cfg(test)]
mod bed;

#[cfg(test)]
mod faults;
#[cfg(test)]
mod git;
#[cfg(test)]
mod host_keys;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod strangers;
