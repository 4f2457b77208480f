// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package postgres

import "time"

// Identity is what tells one running PostgreSQL from another.
type Identity struct {
	// SystemIdentifier names the data. A replica, a clone and a branch share it with
	// where they came from. Empty where it could not be read.
	SystemIdentifier string
	// StartTime names the process that has the connections. A promotion keeps it.
	StartTime time.Time
	// Address and Port are the server's own, as it sees them.
	Address string
	Port    uint16
	// Version is the setting server_version.
	Version string
	// Slots are settings that no server changes while it runs: who claims to be another
	// server must at least have the same.
	Slots Slots
}

// Slots are the settings that bound a server's connections. All need a restart to
// change. Source: pg_settings.context, postmaster.
type Slots struct {
	MaxConnections, SuperuserReserved, Reserved int32
}

// Identity returns what the look says of who was looked at.
func (o Observation) Identity() Identity {
	return Identity{
		SystemIdentifier: o.SystemIdentifier, StartTime: o.StartTime,
		Address: o.ServerAddress, Port: o.ServerPort, Version: o.Version,
		Slots: Slots{MaxConnections: o.MaxConnections, SuperuserReserved: o.SuperuserReserved, Reserved: o.Reserved},
	}
}

// Known reports whether there is something to compare.
func (i Identity) Known() bool { return !i.StartTime.IsZero() }

// Same reports whether two looks, made together, were at one server: identifier,
// start time and slots agree. Where an identifier could not be read, start time, the
// server's own address and port, and version must agree. What is not known is
// never the same.
func (i Identity) Same(other Identity) bool {
	if !i.Known() || !i.StartTime.Equal(other.StartTime) {
		return false
	}
	if i.Slots != other.Slots && i.Slots != (Slots{}) && other.Slots != (Slots{}) {
		return false
	}
	if i.SystemIdentifier != "" && other.SystemIdentifier != "" {
		return i.SystemIdentifier == other.SystemIdentifier
	}
	return i.Address != "" && i.Address == other.Address && i.Port == other.Port && i.Version == other.Version
}
