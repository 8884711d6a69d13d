//! The controller as a process, on a real API server, real git servers and hosts.

#![cfg(test)]

mod scenario;
mod world;

mod canary;
mod crash;
mod faults;
mod hooks;
mod pull_request;
mod reports;
mod scenarios;
mod shapes;
mod ssh;
mod webhook;
mod words;
