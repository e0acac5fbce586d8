package org.metagov.client;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.cert.CertificateException;
import java.security.cert.CertificateFactory;

/** Reads certificates from a file. */
final class Pem {
    private Pem() {}

    /** The bytes of a file that has a certificate; IllegalArgumentException if it has none. */
    static InputStream read(Path file) throws IOException {
        var bytes = Files.readAllBytes(file);
        if (!hasCertificate(bytes)) {
            throw new IllegalArgumentException(
                    "METAGOV_CA: " + file + ": there is no certificate in it, as PEM");
        }
        return new ByteArrayInputStream(bytes);
    }

    private static boolean hasCertificate(byte[] bytes) {
        try {
            var certificates = CertificateFactory.getInstance("X.509");
            return !certificates.generateCertificates(new ByteArrayInputStream(bytes)).isEmpty();
        } catch (CertificateException none) {
            return false;
        }
    }
}
