// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"fmt"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Push uploads an index to a registry under reference and returns the reference
// by digest. Credentials are those of `docker login` or `crane auth login`;
// localhost is spoken to in plain HTTP.
func Push(ctx context.Context, index v1.ImageIndex, reference string) (string, error) {
	tag, err := name.NewTag(reference)
	if err != nil {
		return "", fmt.Errorf("reading reference %s: %w", reference, err)
	}
	digest, err := index.Digest()
	if err != nil {
		return "", fmt.Errorf("reading the digest of %s: %w", reference, err)
	}
	err = remote.WriteIndex(tag, index, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain))
	if err != nil {
		return "", fmt.Errorf("pushing %s: %w", reference, err)
	}
	return tag.Context().Digest(digest.String()).String(), nil
}
