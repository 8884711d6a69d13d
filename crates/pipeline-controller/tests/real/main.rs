//! The controller as a process, on a real API server, real git servers and hosts.

#![cfg(test)]

mod endpoints;
mod scenario;
mod world;

mod approval_requests;
mod canary;
mod cascade;
mod clusters;
mod crash;
mod disturbed;
mod events;
mod faults;
mod hooks;
mod kind_example;
mod notifications;
mod pull_request;
mod reports;
mod rights;
mod scenarios;
mod shapes;
mod ssh;
mod webhook;
mod words;
