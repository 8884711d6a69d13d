//! The controller as a process, on a real API server, real git servers and hosts.

#![cfg(test)]

mod endpoints;
mod replicas;
mod scenario;
mod world;

mod approval_requests;
mod canary;
mod cascade;
mod clusters;
mod crash;
mod disturbed;
mod election;
mod events;
mod failover;
mod faults;
mod hooks;
mod install;
mod kind_example;
mod metrics;
mod monitoring;
mod notifications;
mod pull_request;
mod reports;
mod rights;
mod scenarios;
mod shapes;
mod shards;
mod ssh;
mod start;
mod traces;
mod webhook;
mod words;
