BresultJAâ·Å~\äò
