/* freeport N - print N TCP ports of 127.0.0.1 that were free just now, one a
 * line.  All are bound before the first is given back, so they differ. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

int
main(int argc, char **argv)
{
	int n = argc > 1 ? atoi(argv[1]) : 1, i, fd;
	struct sockaddr_in a;
	socklen_t len;

	for (i = 0; i < n; i++) {
		a = (struct sockaddr_in){ .sin_family = AF_INET,
		    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
		len = sizeof(a);
		fd = socket(AF_INET, SOCK_STREAM, 0);
		if (fd < 0 || bind(fd, (struct sockaddr *)&a, len) != 0 ||
		    getsockname(fd, (struct sockaddr *)&a, &len) != 0) {
			perror("freeport");
			return 75;
		}
		printf("%d\n", ntohs(a.sin_port));
	}
	return 0;
}
