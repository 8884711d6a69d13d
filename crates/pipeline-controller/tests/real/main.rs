//! The controller as a process, on a real API server, real git servers and hosts.

#![cfg(test)]

mod scenario;
mod world;

mod canary;
mod cascade;
mod crash;
mod disturbed;
mod faults;
mod hooks;
mod pull_request;
mod reports;
mod rights;
mod scenarios;
mod shapes;
mod ssh;
mod webhook;
mod words;
