// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package accelerate

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/poolfleet/poolfleet/internal/queryplan"
)

// versionHeader has the client's version. Plans of one minor version can mean something
// else in another.
const versionHeader = "Prisma-Engine-Hash"

func readVersion(header http.Header) (queryplan.Version, error) {
	text := header.Get(versionHeader)
	version, err := queryplan.ParseVersion(text)
	switch {
	case text == "":
		return version, badVersion("the request does not say of which version of Prisma Client it is")
	case err != nil:
		return version, badVersion("the request is of no version of Prisma Client")
	case !version.Supported():
		return version, badVersion(fmt.Sprintf("Prisma Client %s is not supported", version))
	}
	return version, nil
}

func badVersion(message string) *queryplan.Error {
	return &queryplan.Error{
		Status: http.StatusBadRequest, Code: codeVersion,
		Message: message + ": this gateway runs query plans of Prisma Client " + ranges(queryplan.Supported()),
	}
}

// ranges lists versions, which are sorted, with those between left out.
func ranges(versions []queryplan.Version) string {
	var parts []string
	for i := 0; i < len(versions); {
		last := i
		for last+1 < len(versions) && versions[last+1].Major == versions[i].Major && versions[last+1].Minor == versions[last].Minor+1 {
			last++
		}
		part := versions[i].String()
		if last > i {
			part += " to " + versions[last].String()
		}
		parts = append(parts, part)
		i = last + 1
	}
	if len(parts) < 2 {
		return strings.Join(parts, "")
	}
	return strings.Join(parts[:len(parts)-1], ", ") + " and " + parts[len(parts)-1]
}
