/**
 * Calls a Metagov gateway.
 *
 * <p>{@link org.metagov.client.Metagov#connect()} is the way in. The messages and the stubs,
 * in {@code org.metagov.v1}, are made from the files in {@code proto/metagov/v1}, whose
 * comments are the reference of the API.
 */
package org.metagov.client;
