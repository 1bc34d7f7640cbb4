// Package wdpostv1 is generated from wdpost.proto, the contract between
// wdpost-master-daemon and wdpost-slave-daemon; see go:generate in package rpc.
package wdpostv1
